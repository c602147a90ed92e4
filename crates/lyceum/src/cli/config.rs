//! `lyceum config`: check, show, explain, schema.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use lyceum_config::{ConfigErrors, DEFAULT_FILE, LoadOptions, Loaded, Override};

use super::report::Report;
use super::{BAD_CONFIGURATION, ConfigArgs, ConfigCommand};

pub(crate) fn run(command: &ConfigCommand) -> ExitCode {
    let result = match command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Show { config, defaults } => {
            load(config).map(|loaded| loaded.show(*defaults))
        }
        ConfigCommand::Explain { key, config } => explain(key, config),
        ConfigCommand::Schema => Ok(lyceum_config::json_schema()),
    };
    match result {
        Ok(text) => print(&text),
        Err(report) => report.print(),
    }
}

/// Loads the configuration from its file, the environment and the command line, to serve with it.
pub(crate) fn load(args: &ConfigArgs) -> Result<Loaded, Report> {
    let options = options(args)?;
    lyceum_config::load(&options).map_err(|errors| refused(&errors, &options))
}

/// The same for what else is done with it: people prepare environments before they decide how to log in.
pub(crate) fn load_to_prepare(args: &ConfigArgs) -> Result<Loaded, Report> {
    let options = options(args)?;
    lyceum_config::load(&options)
        .or_else(ConfigErrors::before_serving)
        .map_err(|errors| refused(&errors, &options))
}

fn refused(errors: &ConfigErrors, options: &LoadOptions) -> Report {
    let hint = if options.file.is_none() && !Path::new(DEFAULT_FILE).exists() {
        format!(
            "there is no file {DEFAULT_FILE}, so everything has its default: write it, or name another with --config"
        )
    } else {
        "`lyceum config explain KEY` tells what a key means".to_owned()
    };
    let styled = std::io::stderr().is_terminal();
    Report::text(errors.render(styled))
        .hint(hint)
        .code(BAD_CONFIGURATION)
}

fn options(args: &ConfigArgs) -> Result<LoadOptions, Report> {
    let mut overrides = Vec::new();
    for text in &args.set {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Report::text(format!(
                "error: `--set {text}` is not of the form KEY=VALUE"
            ))
            .hint("for example --set hub.base_url=/jupyter/")
            .code(2)
        })?;
        overrides.push(Override::text(format!("--set {key}"), key.trim(), value));
    }
    Ok(LoadOptions::from_process(args.config.clone(), overrides))
}

fn check(args: &ConfigArgs) -> Result<String, Report> {
    let loaded = load(args)?;
    let styled = std::io::stdout().is_terminal();
    let mut text: String = loaded
        .warnings
        .iter()
        .map(|warning| warning.render(styled) + "\n\n")
        .collect();
    text.push_str("The configuration is fine");
    match loaded.files.as_slice() {
        [] => text.push_str(": there is no file, so everything has its default."),
        files => {
            let files: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            text.push_str(" (");
            text.push_str(&files.join(", "));
            text.push_str(").");
        }
    }
    Ok(text)
}

fn explain(key: &str, args: &ConfigArgs) -> Result<String, Report> {
    let tell = |loaded: Option<&Loaded>| {
        lyceum_config::explain(key, loaded).map_err(|error| Report::new(&error))
    };
    // What a key means can be told with a broken file, too.
    match lyceum_config::load(&options(args)?) {
        Ok(loaded) => tell(Some(&loaded)),
        Err(errors) => tell(errors.readable()),
    }
}

/// Prints the answer of a command; a reader that has gone, such as `head`, is no mistake, but a full disk is.
fn print(text: &str) -> ExitCode {
    let written = writeln!(std::io::stdout(), "{}", text.trim_end());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Report::new(&error).print(),
        _ => ExitCode::SUCCESS,
    }
}
