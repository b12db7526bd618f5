//! Where the `user` commands get a password from: a file, the terminal, or standard input.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::Path;

use crate::failure::Failure;

/// The most bytes that are read for one line.
const LINE_BYTES: u64 = 4_096;

/// The first line of `file`; without a file, what is typed at the terminal, or one line of standard input.
pub(crate) fn read(file: Option<&Path>) -> Result<String, Failure> {
    let password = match file {
        Some(path) => {
            let failed =
                |error: io::Error| Failure::of(format!("cannot read {}", path.display()), &error);
            first_line(File::open(path).map_err(failed)?).map_err(failed)?
        }
        None if io::stdin().is_terminal() => ask()?,
        None => first_line(io::stdin())
            .map_err(|error| Failure::of("cannot read standard input", &error))?,
    };
    if password.is_empty() {
        Err(Failure::new("the password is empty"))
    } else {
        Ok(password)
    }
}

fn ask() -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::of("cannot read from the terminal", &error);
    let password = rpassword::prompt_password("Password: ").map_err(failed)?;
    let again = rpassword::prompt_password("The same again: ").map_err(failed)?;
    if password == again {
        Ok(password)
    } else {
        Err(Failure::new("the two passwords differ"))
    }
}

fn first_line(source: impl Read) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(source.take(LINE_BYTES)).read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    Ok(line)
}
