//! `pipeline completions` and `pipeline man`: made from the same description of the arguments as the help.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::commands::{Cli, Error, Exit, print};

pub(super) const COMPLETIONS_HELP: &str = "Install them, for example:\n  \
    bash  pipeline completions bash > ~/.local/share/bash-completion/completions/pipeline\n  \
    zsh   pipeline completions zsh > \"${fpath[1]}/_pipeline\"\n  \
    fish  pipeline completions fish > ~/.config/fish/completions/pipeline.fish";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(options: &Completions) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "pipeline", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// One page: the program, then every command with its options.
pub(super) fn man() -> Result<Exit, Error> {
    let page = (|| {
        let mut page = Vec::new();
        let mut program = Cli::command();
        program.build();
        clap_mangen::Man::new(program.clone()).render(&mut page)?;
        let mut below: Vec<clap::Command> = program.get_subcommands().cloned().collect();
        while !below.is_empty() {
            let command = below.remove(0);
            if command.get_name() == "help" {
                continue;
            }
            below.splice(0..0, command.get_subcommands().cloned());
            let man = clap_mangen::Man::new(command);
            man.render_name_section(&mut page)?;
            man.render_synopsis_section(&mut page)?;
            man.render_options_section(&mut page)?;
            man.render_extra_section(&mut page)?;
        }
        Ok(page)
    })();
    let page: Vec<u8> = page.map_err(Error::io("could not write the manual page"))?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}
