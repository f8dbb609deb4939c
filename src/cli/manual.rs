//! `humdinger completions` and `humdinger man`: what shells and man know of the command line, made from its description.

use super::Cli;
use crate::train::weights::write_whole;
use crate::{Error, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::path::{Path, PathBuf};

/// Print what a shell needs to complete the commands and their options
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page of the program, or write those of all commands into a folder
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The command whose page is printed [default: the program as a whole]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Option<String>,
    /// A folder for the pages of all commands, as for `man` below a folder `man1`
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Prints the completions.
pub fn completions(args: &Completions) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "humdinger", &mut text);
    super::say(String::from_utf8_lossy(&text).trim_end())
}

/// Prints or writes pages.
pub fn man(args: &Man) -> Result<()> {
    let mut program = Cli::command();
    program.build();
    if let Some(folder) = &args.out {
        return write_all(&program, folder);
    }
    let command = match &args.command {
        None => &program,
        Some(name) => program.find_subcommand(name).ok_or_else(|| {
            Error::usage("COMMAND", format!("there is no command `{name}`; `humdinger --help` lists them"))
        })?,
    };
    super::say(String::from_utf8_lossy(&page(command)?).trim_end())
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(|e| Error::Data(format!("the page of {} cannot be made: {e}", command.get_name())))?;
    Ok(text)
}

/// Pages `humdinger.1`, `humdinger-train.1` and so on, of commands within commands too.
fn write_all(command: &Command, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, format!("cannot be made: {e}")))?;
    let name = command.get_display_name().unwrap_or(command.get_name());
    write_whole(&folder.join(format!("{name}.1")), &page(command)?)?;
    let others = command.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    others.into_iter().try_for_each(|command| write_all(command, folder))
}
