//! stub
use crate::{cli::{DemoArgs, DemoWorkerArgs}, failure::Failure};
pub async fn run(_args: DemoArgs) -> Result<(), Failure> { Ok(()) }
pub async fn work(_args: DemoWorkerArgs) -> Result<(), Failure> { Ok(()) }
