//! Programs in JavaScript: a folder of xtask with a lock file, installed into the target directory.

use crate::{
    command::{root, run},
    licences::metadata,
};
use anyhow::{Context, Result};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// Where the packages come from may be far away.
const LIMIT: Duration = Duration::from_secs(600);

/// Copies the folder `xtask/<project>` to the target directory and installs there what its lock file names. Returns where
/// its programs are.
pub fn install(project: &str) -> Result<PathBuf> {
    for program in ["node", "npm"] {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.with_context(|| format!("this needs Node.js and npm, and there is no `{program}`"))?;
    }
    let folder = metadata()?.target_directory.join(project);
    fs::create_dir_all(&folder)?;
    let source = root().join("xtask").join(project);
    for file in fs::read_dir(&source).with_context(|| source.display().to_string())? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), folder.join(file.file_name())).with_context(|| file.path().display().to_string())?;
        }
    }
    // The native parts come prebuilt; no package needs to run a script.
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    run(Command::new("npm").args(arguments).current_dir(&folder), LIMIT)?;
    Ok(folder)
}
