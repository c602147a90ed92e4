//! Lets users see the packages that they have installed for themselves, which a virtual environment hides.
//!
//! The system's own packages stay hidden: what an environment has is what its lock file says, and what its user adds.

use std::fs;
use std::path::Path;

use crate::error::EnvError;
use crate::python::meter::find_site_packages;

/// Python reads it at each start; a line that begins with `import` is run.
pub(crate) const NAME: &str = "lyceum-user-packages.pth";

/// `site.venv` turns users' packages off after it has read this line, and calls `addusersitepackages` next
/// (CPython, `Lib/site.py`). There they are turned on again, unless Python was told to go without them. They come after
/// the environment's own, as in every virtual environment that has them, so that they can add but not replace.
const LINE: &str = "import sys; (lambda site, add: setattr(site, 'addusersitepackages', \
     lambda known: (setattr(site, 'ENABLE_USER_SITE', site.check_enableusersite()), add(known))[1]))\
     (sys.modules['site'], sys.modules['site'].addusersitepackages)\n";

/// Writes the file, or sees that there is none.
pub(crate) fn place(prefix: &Path, wanted: bool) -> Result<(), EnvError> {
    let Some(folder) = find_site_packages(prefix) else {
        return Ok(());
    };
    let path = folder.join(NAME);
    let result = if wanted {
        super::write_new(&path, LINE.as_bytes()).map(drop)
    } else {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    result.map_err(|source| EnvError::Io {
        doing: "write",
        path,
        source,
    })
}
