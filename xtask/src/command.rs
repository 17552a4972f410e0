//! Starting other programs: from the project's root, without stdin, and with a time limit.

use anyhow::{Context, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The project's root.
pub fn root() -> PathBuf {
    // The manifest's directory is that of xtask itself; it has a parent because xtask is a member of the workspace.
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Cargo, the same that runs this, in the project's root.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What the cargo that runs this has told about xtask. Build scripts watch these variables, ring's for one, and would have
    // everything behind them built anew whenever a person and this program take turns.
    let about_xtask = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(about_xtask)) {
        command.env_remove(name);
    }
    command
}

/// Runs a program to its end; an error if it fails or takes longer than `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let text = words.join(" ".as_ref()).to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    own_group(command);
    let mut child = command.spawn().with_context(|| format!("starting `{text}`"))?;
    let status = wait(&mut child, limit).with_context(|| format!("`{text}`"))?;
    if !status.success() {
        bail!("`{text}` ended with {status}");
    }
    Ok(())
}

/// Waits for a child, and kills it and its children if it takes longer than `limit`.
fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            kill(child);
            child.wait()?;
            bail!("was still running after {} seconds and was killed", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Under CI a step is a process group of its own, so that a step that hangs can be ended with all it has started. For
/// a person at a terminal it stays in the terminal's group, so that ctrl-C reaches it.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    if in_ci() {
        command.process_group(0);
    }
}

#[cfg(unix)]
fn kill(child: &mut Child) {
    use nix::{sys::signal, unistd::Pid};
    if in_ci()
        && let Ok(group) = i32::try_from(child.id())
    {
        // Fails only if all of them have ended in the meantime.
        let _ = signal::killpg(Pid::from_raw(group), signal::Signal::SIGKILL);
    }
    let _ = child.kill();
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {
    let _ = in_ci;
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    let _ = child.kill();
}

/// Puts a program in the place of this one where that is possible, so that what ends this ends it; elsewhere runs it to its
/// end.
#[cfg(unix)]
pub fn become_it(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
pub fn become_it(command: &mut Command) -> Result<ExitCode> {
    Ok(if command.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
