//! The executable `layover`.

use std::process::ExitCode;

fn main() -> ExitCode {
    layover_admin::run(std::env::args_os())
}
