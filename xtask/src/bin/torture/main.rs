//! The program behind `cargo xtask torture`, in two roles: the conductor, and the workers that it starts and kills.
//!
//! | part | what |
//! | --- | --- |
//! | `conduct` | starts, freezes, kills and replaces processes, fills the disk |
//! | `work` | one process: clients that write and read, and tell every operation before and after |
//! | `check` | what all have told is checked: nothing lost, doubled, stale; each key linearizable |
//! | `record`, `key`, `clock`, `workload` | what the roles have in common |
//! | `report`, `plot` | what came of it |

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod conduct;
#[cfg(target_os = "linux")]
mod key;
#[cfg(target_os = "linux")]
mod plot;
#[cfg(target_os = "linux")]
mod record;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod work;
#[cfg(target_os = "linux")]
mod workload;

/// Many processes on one database, faults of every kind, and a check of everything that was promised.
#[cfg(target_os = "linux")]
#[derive(clap::Parser)]
#[command(name = "cargo xtask torture", bin_name = "cargo xtask torture")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: conduct::ConductOptions,
}

#[cfg(target_os = "linux")]
#[derive(clap::Subcommand)]
enum Role {
    /// Be one of the processes.
    #[command(hide = true)]
    Work(work::WorkOptions),
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<std::process::ExitCode> {
    use clap::Parser;
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Work(options)) => work::run(&options).map(|()| std::process::ExitCode::SUCCESS),
        None => conduct::run(&cli.options),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("this needs what Linux has: mount namespaces, and children that end with their parent")
}
