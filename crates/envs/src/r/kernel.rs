//! What a kernel for notebooks in R is started with.

use super::interpreter::Interpreter;
use super::library::RLibrary;
use super::site::quoted;

/// The parts of a kernel's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RKernel {
    /// What is started; Jupyter puts the name of a file in the place of `{connection_file}`.
    pub argv: Vec<String>,
    /// What people see.
    pub display_name: String,
    /// The language, in Jupyter's spelling.
    pub language: &'static str,
}

impl RKernel {
    /// A kernel with a library, whichever library the rest of the machine has. It gets the generation that is current when
    /// it starts. `title` is what people see; `None` for such as `R 4.2`.
    pub fn new(library: &RLibrary, interpreter: &Interpreter, title: Option<&str>) -> Self {
        let file = quoted(&library.start_file());
        let start =
            format!("if(file.exists({file}))source({file},local=new.env());IRkernel::main()");
        Self {
            argv: vec![
                interpreter.program.display().to_string(),
                "--slave".to_owned(),
                "-e".to_owned(),
                start,
                "--args".to_owned(),
                "{connection_file}".to_owned(),
            ],
            display_name: title.map_or_else(
                || format!("R {}", interpreter.version.series()),
                str::to_owned,
            ),
            language: "R",
        }
    }

    /// The kernel's description as Jupyter reads it.
    pub fn to_json(&self) -> String {
        let value = serde_json::json!({
            "argv": self.argv,
            "display_name": self.display_name,
            "language": self.language,
        });
        format!("{value:#}\n")
    }
}
