//! The provider's program, found before anything starts: a command that cannot be started is a mistake on the command
//! line, not a crash of the agent.

use super::failure::Failure;
use super::given::Environment;
use rustix::fs::{Access, access};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where the command stands, unless the configuration has it.
pub(crate) const BEHIND: &str = "the command behind --";

/// The command with its program as an absolute path. A path with a slash counts from where we are, as in a shell, not
/// from `--cwd`; a name without one is looked for in PATH.
pub(crate) fn found(argv: &[OsString], whence: &str, env: Environment<'_>) -> Result<Vec<OsString>, Failure> {
    let program = match argv.first() {
        None => {
            return Err(Failure::usage(
                "no_command",
                "`run command` needs the command to run behind --, for example: relay-runner run command -- ./agent.sh; \
                 or providers.command.command in the configuration",
            ));
        }
        Some(program) if program.is_empty() => {
            return Err(Failure::usage("no_command", format!("{whence} is empty; name a program there")));
        }
        Some(program) => program,
    };
    let path =
        if program.as_encoded_bytes().contains(&b'/') { at(program, whence)? } else { in_path(program, whence, env)? };
    let mut argv = argv.to_vec();
    argv[0] = path.into();
    Ok(argv)
}

fn at(program: &OsStr, whence: &str) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(program).map_err(|e| not_found(program, whence, &e.to_string()))?;
    if !path.exists() {
        return Err(not_found(program, whence, &format!("there is no file {}", path.display())));
    }
    if path.is_dir() {
        let text = format!("{whence}: {} is a folder; name a program", path.display());
        return Err(Failure::usage("command_not_executable", text));
    }
    if !is_executable(&path) {
        return Err(Failure::usage(
            "command_not_executable",
            format!(
                "{whence}: {} is not an executable file; make it one with `chmod +x {0}`, or name its interpreter before it",
                path.display()
            ),
        ));
    }
    Ok(path)
}

fn in_path(program: &OsStr, whence: &str, env: Environment<'_>) -> Result<PathBuf, Failure> {
    let path = env.raw("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
        .and_then(|file| std::path::absolute(file).ok())
        .ok_or_else(|| not_found(program, whence, "no folder of PATH has an executable file of that name"))
}

fn not_found(program: &OsStr, whence: &str, why: &str) -> Failure {
    Failure::usage(
        "command_not_found",
        format!("{whence}: `{}` was not found: {why}; check its name, or give its path", program.display()),
    )
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(argv: &[&str]) -> Result<Vec<OsString>, String> {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        found(&argv, BEHIND, Environment::of(&|name| (name == "PATH").then(|| "/nowhere:/bin:/usr/bin".into())))
            .map_err(|failure| failure.code.into_owned())
    }

    #[test]
    fn a_program_is_found_by_name_or_path_with_its_arguments() {
        let argv = code(&["sh", "-c", "true"]).unwrap();
        assert!(Path::new(&argv[0]).is_absolute() && argv[0].to_string_lossy().ends_with("/sh"));
        assert_eq!(argv[1..], ["-c", "true"]);
        assert_eq!(code(&["/bin/sh"]).unwrap(), ["/bin/sh"]);
    }

    #[test]
    fn what_cannot_be_started_is_said_by_kind() {
        assert_eq!(code(&[]).unwrap_err(), "no_command");
        assert_eq!(code(&[""]).unwrap_err(), "no_command");
        assert_eq!(code(&["no-such-program-anywhere"]).unwrap_err(), "command_not_found");
        assert_eq!(code(&["/no/such/file"]).unwrap_err(), "command_not_found");
        assert_eq!(code(&["/etc/passwd"]).unwrap_err(), "command_not_executable");
        assert_eq!(code(&["/etc/"]).unwrap_err(), "command_not_executable");
    }
}
