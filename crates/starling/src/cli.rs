//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

use crate::configuration::{self, Configuration};
use crate::failure::Failure;
use crate::{key, report, restored, room, routes, serve, token, user, version};

/// Starling, a Matrix homeserver.
#[derive(Debug, Parser)]
#[command(name = "starling", version = version::details())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server; without a file, with the development profile.
    Serve(Serve),
    /// Prints or checks a configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Makes, lists and changes accounts, whether the server runs or not.
    User(User),
    /// Makes, lists and ends registration tokens, whether the server runs or not.
    Token(Token),
    /// Changes the key that the server signs with.
    Key(Key),
    /// Lists and removes what users have reported, whether the server runs or not.
    Report(Report),
    /// Deletes rooms, whether the server runs or not.
    Room(Room),
    /// To be run after a copy of the database was put back, before the server starts again.
    Restored(Restored),
    /// Prints the version, the commit and the version of the schema.
    Version,
    /// Prints the table of routes, for tools of development.
    #[command(hide = true)]
    Routes,
}

#[derive(Debug, clap::Args)]
struct Serve {
    #[command(flatten)]
    file: File,
    /// How a line of the log looks; overrides `logging.format`.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged (error, warn, info, debug, trace, or a filter); overrides `logging.filter`.
    #[arg(long, env = "STARLING_LOG", value_name = "FILTER")]
    log_level: Option<String>,
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration; without it, the development profile.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints the commented example.
    Default,
    /// Checks a file: an unknown key, a bad value or an unreadable path is an error.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct User {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Makes an account.
    Create {
        /// The localpart, or the whole user id.
        name: String,
        /// A file whose first line is the password; otherwise it is asked for, or one line of standard input is read.
        #[arg(long, value_name = "F")]
        password_file: Option<PathBuf>,
        /// Makes it an administrator's.
        #[arg(long)]
        admin: bool,
    },
    /// Lists the accounts: user id, kind and state, one in each line.
    List,
    /// Sets a password; all sessions of the account end.
    SetPassword {
        /// The localpart, or the whole user id.
        name: String,
        /// A file whose first line is the password; otherwise it is asked for, or one line of standard input is read.
        #[arg(long, value_name = "F")]
        password_file: Option<PathBuf>,
    },
    /// Deactivates an account: nobody can log in, all sessions end, the user leaves all rooms, and the name stays taken.
    Deactivate {
        /// The localpart, or the whole user id.
        name: String,
        /// Hides the user's messages from whoever joins a room later.
        #[arg(long)]
        erase: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Token {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a registration token, and prints it.
    Create {
        /// Its text, at most 64 of A-Z, a-z, 0-9 and ._~-; without it, one is made up.
        token: Option<String>,
        /// How many accounts it is good for; without it, any number.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        uses: Option<u32>,
        /// How long it is good (such as 90m, 2h, 30d); without it, for ever.
        #[arg(long, value_name = "T", value_parser = token::lifetime)]
        expires: Option<Duration>,
    },
    /// Lists the registration tokens: text, uses and end, one in each line.
    List,
    /// Ends a registration token.
    Revoke {
        /// Its text.
        token: String,
    },
}

#[derive(Debug, clap::Args)]
struct Key {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a new key, which the server signs with from its next start on. Other servers learn that the old one was its too.
    Rotate {
        /// Where the file with the old key is gone for good: its public half is known, and published as an old one.
        #[arg(long)]
        lost: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Report {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// Lists the reports: number, time, who, what and why, one in each line.
    List,
    /// Removes a report that is dealt with.
    Delete {
        /// Its number.
        number: i64,
    },
}

#[derive(Debug, clap::Args)]
struct Room {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: RoomCommand,
}

#[derive(Debug, Subcommand)]
enum RoomCommand {
    /// Deletes all that this server has of a room, in the background while the server runs. Other servers keep what they have.
    Purge {
        /// The room's id.
        room_id: String,
        /// Makes users of this server leave the room first; otherwise a room that some are in is left as it is.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Restored {
    #[command(flatten)]
    file: File,
    /// The signing key in the file is one that the copy doesn't know: it took the place of the other since the copy was made.
    #[arg(long)]
    key_replaced: bool,
}

impl Restored {
    fn run(self) -> Result<(), Failure> {
        let configuration = Configuration::load(self.file.config.as_deref())?;
        restored::run(&configuration, self.key_replaced)
    }
}

/// Does what the command line says.
pub(crate) fn run() -> Result<(), Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are errors here, and answers to who asked for them.
        Err(error) if !error.use_stderr() => return print(error.render().to_string()),
        Err(error) => return Err(misuse(&error)),
    };
    match cli.command {
        Command::Serve(Serve {
            file,
            log_format,
            log_level,
        }) => {
            let mut configuration = Configuration::load(file.config.as_deref())?;
            let logging = &mut configuration.config.logging;
            match log_format {
                Some(LogFormat::Text) => logging.format = starling_config::LogFormat::Text,
                Some(LogFormat::Json) => logging.format = starling_config::LogFormat::Json,
                None => {}
            }
            if let Some(filter) = log_level {
                logging.filter = filter;
            }
            serve::run(configuration)
        }
        Command::Config(ConfigCommand::Default) => print(starling_config::example()),
        Command::Config(ConfigCommand::Check { file }) => configuration::check(&file),
        Command::User(User { file, command }) => {
            let configuration = Configuration::load(file.config.as_deref())?;
            match command {
                UserCommand::Create {
                    name,
                    password_file,
                    admin,
                } => user::create(&configuration, name, password_file.as_deref(), admin),
                UserCommand::List => user::list(&configuration),
                UserCommand::SetPassword {
                    name,
                    password_file,
                } => user::set_password(&configuration, name, password_file.as_deref()),
                UserCommand::Deactivate { name, erase } => {
                    user::deactivate(&configuration, name, erase)
                }
            }
        }
        Command::Token(Token { file, command }) => {
            let configuration = Configuration::load(file.config.as_deref())?;
            match command {
                TokenCommand::Create {
                    token,
                    uses,
                    expires,
                } => token::create(&configuration, token, uses, expires),
                TokenCommand::List => token::list(&configuration),
                TokenCommand::Revoke { token } => token::revoke(&configuration, token),
            }
        }
        Command::Key(Key { file, command }) => {
            let configuration = Configuration::load(file.config.as_deref())?;
            match command {
                KeyCommand::Rotate { lost } => key::rotate(&configuration, lost),
            }
        }
        Command::Report(Report { file, command }) => {
            let configuration = Configuration::load(file.config.as_deref())?;
            match command {
                ReportCommand::List => report::list(&configuration),
                ReportCommand::Delete { number } => report::delete(&configuration, number),
            }
        }
        Command::Room(Room { file, command }) => {
            let configuration = Configuration::load(file.config.as_deref())?;
            match command {
                RoomCommand::Purge { room_id, force } => {
                    room::purge(&configuration, room_id, force)
                }
            }
        }
        Command::Restored(command) => command.run(),
        Command::Version => print(version::line()),
        Command::Routes => print(routes::table()),
    }
}

/// What is wrong with the arguments, in one line.
fn misuse(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let problem = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing".to_owned()
    } else {
        // The problem comes first; an empty line parts it from hints and usage.
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect();
        lines.join(" ")
    };
    let problem = problem.strip_prefix("error: ").unwrap_or(&problem);
    Failure::misuse(format!("{problem}; `starling --help` lists what there is"))
}

/// Writes `text` to standard output.
pub(crate) fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    let text = text.as_ref().trim_end();
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::of("cannot write to standard output", &error)),
        Ok(()) => Ok(()),
    }
}
