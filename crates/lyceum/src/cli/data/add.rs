//! `lyceum data add`: brings data.

use std::fmt::Write as _;

use clap::Args;
use lyceum_config::settings::Config;
use lyceum_core::HumanSize;
use lyceum_core::size::about;
use lyceum_envs::data::{
    self, Audience, DataStamp, FolderWish, Found, NltkPlan, NltkSource, NltkWish, Rights,
};

use super::{check_name, load, look, report, rights_of};
use crate::cli::progress::Bar;
use crate::cli::{ConfigArgs, Report};

/// The name of the data that is NLTK's.
const NLTK: &str = "nltk";
/// How large data may be, unless it is said otherwise.
const MAX_SIZE: &str = "20G";

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// `nltk`, or the name of the data: that of its section `[shared.NAME]`, if it has one
    name: String,
    /// NLTK's packages and collections [default: popular]
    packages: Vec<String>,
    /// Where it comes from: a folder, a zip file or tar archive, or the address of one; for `nltk` the address of another
    /// index.xml, or a folder or zip file with one
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
    /// The SHA-256 that the archive has to have
    #[arg(long, value_name = "SUM")]
    sha256: Option<String>,
    /// How large it may be, unpacked
    #[arg(long, value_name = "SIZE", default_value = MAX_SIZE)]
    max_size: HumanSize,
    /// Tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn add(args: &AddArgs) -> Result<String, Report> {
    let config = load(&args.config)?;
    let name = args.name.as_str();
    check_name(name)?;
    // A folder on a network that is down would be waited for without end.
    look(&config.shared_path(name), data::find).await?;
    let rights = rights_of(&config, name);
    if rights.write != Audience::Nobody {
        return Err(Report::text(format!(
            "error: `shared.{name}.write` lets others write, and what they write would be replaced"
        ))
        .hint("they can put the data there themselves; or choose another name"));
    }
    if name == NLTK {
        return nltk(args, &config, rights).await;
    }
    if !args.packages.is_empty() {
        return Err(Report::text("error: only `nltk` has packages")
            .hint(format!(
                "for example: lyceum data add {name} --from https://example.org/{name}.zip"
            ))
            .code(2));
    }
    folder(args, &config, rights).await
}

async fn nltk(args: &AddArgs, config: &Config, rights: Rights) -> Result<String, Report> {
    if args.sha256.is_some() {
        return Err(Report::text("error: --sha256 is not for `nltk`")
            .hint("its index tells the checksum of each package")
            .code(2));
    }
    let path = config.shared_path(NLTK);
    let source = NltkSource::parse(args.from.as_deref()).map_err(|error| report(&error))?;
    let wish = NltkWish {
        names: args.packages.clone(),
        source,
        max_size: args.max_size.bytes(),
        rights,
    };
    if args.dry_run {
        let plan = data::plan_nltk(&path, &wish).await;
        return Ok(planned(&plan.map_err(|error| report(&error))?));
    }
    let bar = Bar::new();
    let done = data::add_nltk(&path, &wish, &bar).await;
    bar.clear();
    Ok(match done.map_err(|error| report(&error))? {
        Some(stamp) => put(config, NLTK, &stamp),
        None => format!("{} has all of it already.", path.display()),
    })
}

fn planned(plan: &NltkPlan) -> String {
    let mut text = String::new();
    for package in &plan.wanted {
        let size = about(package.download);
        let what = if package.replaces { "replace" } else { "add" };
        let _ = writeln!(text, "would {what} {} ({size})", package.place);
    }
    for name in &plan.there {
        let _ = writeln!(text, "{name} is there already");
    }
    text
}

async fn folder(args: &AddArgs, config: &Config, rights: Rights) -> Result<String, Report> {
    let name = args.name.as_str();
    let Some(source) = &args.from else {
        return Err(Report::text("error: where shall it come from?")
            .hint("name a folder, an archive or an address with --from")
            .code(2));
    };
    let path = config.shared_path(name);
    let source = if source.contains("://") {
        source.clone()
    } else {
        // What is written down of it is to be found from everywhere.
        let whole = std::path::absolute(source).map_err(|error| Report::new(&error))?;
        std::fs::metadata(&whole).map_err(|error| {
            Report::text(format!(
                "error: could not read {source}\n  caused by: {error}"
            ))
        })?;
        whole.display().to_string()
    };
    if args.dry_run {
        let found = look(&path, data::find).await?;
        let what = match found {
            Found::Nothing => "would put it into",
            Found::Data(_) => "would replace what is in",
            Found::Other => "could not replace what others have put into",
        };
        return Ok(format!("{what} {}", path.display()));
    }
    let wish = FolderWish {
        source,
        sha256: args.sha256.clone(),
        max_size: args.max_size.bytes(),
        rights,
    };
    let bar = Bar::new();
    let done = data::add_folder(&path, &wish, &bar).await;
    bar.clear();
    Ok(match done.map_err(|error| report(&error))? {
        Some(stamp) => put(config, name, &stamp),
        None => format!("{} has the same already.", path.display()),
    })
}

/// What has been put where, and what is still to be done so that servers know of it.
fn put(config: &Config, name: &str, stamp: &DataStamp) -> String {
    let path = config.shared_path(name);
    let size = about(stamp.bytes());
    let mut text = format!("{} is complete: {size}.\n", path.display());
    if !config.shared.contains_key(name) {
        let variable = match name {
            NLTK => "NLTK_DATA".to_owned(),
            name => name.to_uppercase().replace('-', "_"),
        };
        let _ = write!(
            text,
            "Servers are told of it by these lines in the configuration, from their next start on:\n\n  \
             [shared.{name}]\n  variable = \"{variable}\"\n"
        );
    }
    text
}
