//! What the server's process may do on this machine.

use layover_config::Settings;
use layover_server::{SandboxState, look_at_sandbox};

use super::Finding;
use super::machine::is_in_container;
use crate::error::with_causes;

/// Who would run it: whoever asks. In a container root is no more than the container has.
pub(super) fn user() -> Finding {
    user_of(rustix::process::geteuid().as_raw(), is_in_container())
}

fn user_of(user: u32, is_in_container: bool) -> Finding {
    const WHAT: &str = "user";
    if user == 0 && !is_in_container {
        return Finding::notice(
            WHAT,
            "root, which nothing of the server needs",
            "run it as a user of its own: config/layover.service shows how, ports below 1024 included",
        );
    }
    Finding::ready(WHAT, format!("number {user}"))
}

pub(super) fn sandbox(settings: &Settings) -> Finding {
    const WHAT: &str = "sandbox";
    let report = match look_at_sandbox(settings) {
        Ok(report) => report,
        Err(error) => {
            let next = "correct it, or set [server] sandbox to \"auto\"";
            return Finding::not_ready(WHAT, with_causes(&error), next);
        }
    };
    let next = match report.state {
        SandboxState::Enforced => return Finding::ready(WHAT, report.detail),
        SandboxState::SwitchedOff => "set [server] sandbox to \"auto\" again when it can be",
        SandboxState::Partly | SandboxState::Unavailable => {
            "Linux 6.12 or later enforces all of it; the kernel's parameter lsm= must not leave \
             out landlock, nor a container's filter its system calls"
        }
    };
    Finding::notice(WHAT, report.detail, next)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn root_is_told_of_outside_of_containers() {
        assert_eq!(user_of(0, false).state, State::Notice);
        assert_eq!(user_of(0, true).state, State::Ready);
        assert_eq!(user_of(1000, false).state, State::Ready);
    }
}
