//! Ports below 1024 for a process that is not root.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Makes use of the right to bind ports below 1024 where the executable's file was
/// given it (`setcap cap_net_bind_service+p`), as the container image's is. Call it
/// before there are other threads: the right is each thread's own.
///
/// The file says "permitted" and not "effective" because an executable that asks for
/// more than its container may give is not started at all; so it starts, and is told
/// which port it cannot have. Nothing else is ever taken up.
pub fn take_up_privileged_ports() {
    let Ok(mut sets) = capabilities(None) else {
        return;
    };
    let right = CapabilitySet::NET_BIND_SERVICE;
    if sets.permitted.contains(right) && !sets.effective.contains(right) {
        sets.effective |= right;
        // Refused, there is nothing lost: binding then says what is missing.
        let _ = set_capabilities(None, sets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_permitted_ports_is_taken_up() {
        let before = capabilities(None).unwrap();
        take_up_privileged_ports();
        let after = capabilities(None).unwrap();
        assert_eq!(after.permitted, before.permitted);
        assert_eq!(after.inheritable, before.inheritable);
        let right = CapabilitySet::NET_BIND_SERVICE;
        assert_eq!(after.effective - right, before.effective - right);
        assert_eq!(
            after.effective.contains(right),
            before.permitted.contains(right)
        );
    }
}
