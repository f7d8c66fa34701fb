//! Data connections that do not come: which ports, and which address was told.

use super::{Advice, as_sure, ours};
use crate::Network;
use crate::doctor::chart::Chart;
use crate::doctor::sign::{SeenSign, Sign, plain};
use crate::doctor::verdict::{Finding, PortSpan, Side};

fn span(ports: &PortSpan) -> String {
    let noun = match ports.lowest == ports.highest {
        true => "port",
        false => "ports",
    };
    format!("{noun} {}", numbers(ports))
}

/// All of them, or any port where none is known.
fn spans(ranges: &[PortSpan]) -> String {
    match ranges {
        [] => "any port".to_owned(),
        [one] => span(one),
        [others @ .., last] => {
            let others: Vec<_> = others.iter().map(numbers).collect();
            format!("ports {} and {}", others.join(", "), numbers(last))
        }
    }
}

fn numbers(ports: &PortSpan) -> String {
    match ports.lowest == ports.highest {
        true => ports.lowest.to_string(),
        false => format!("{}-{}", ports.lowest, ports.highest),
    }
}

fn are_reached(ports: &PortSpan) -> String {
    let verb = match ports.lowest == ports.highest {
        true => "is",
        false => "are",
    };
    format!("{} {verb} reached", span(ports))
}

pub(super) fn no_data_connection(chart: &Chart, seen: &SeenSign, finding: &Finding) -> Advice {
    let from = plain(finding.network);
    let server = chart.ours.server.as_deref().unwrap_or("our server");
    let range = match chart.ours.passive_ports {
        Some((first, last)) => format!("{first}-{last}"),
        None => "of our passive range".to_owned(),
    };
    let missed = spans(&finding.missed_ranges);
    let (what, sentence) = match &finding.reached_ports {
        Some(reached) => (
            format!(
                "the client at {from} is told data ports and reaches only some: nothing comes to {missed}, while {}",
                are_reached(reached)
            ),
            format!(
                "your firewall lets the control connection and some passive ports through ({}), but not the passive {missed} on {server}; please allow outgoing TCP to ports {range}.",
                span(reached)
            ),
        ),
        None if finding.good_times > 0 => (
            format!(
                "of the data connections of the client at {from} some do not come: {} did not, {} came since",
                finding.times, finding.good_times
            ),
            format!(
                "your firewall lets some data connections to {server} through and others not; please allow outgoing TCP to ports {range}."
            ),
        ),
        None => (
            format!(
                "the client at {from} logs in, is told a data port, and no data connection comes ({missed})"
            ),
            format!(
                "your firewall lets the control connection through but not the passive {missed} on {server}; please allow outgoing TCP to ports {range}."
            ),
        ),
    };
    let last = match finding.told.last() {
        Some(told) => format!(" The last that your client was told: {told}."),
        None => String::new(),
    };
    Advice {
        what,
        side: Side::Between,
        to_the_partner: Some(format!("{}{last}", as_sure(finding, &sentence))),
        what_to_do: Some(format!(
            "our own firewall must let TCP {range} in, too; {}",
            look_at_the_address(seen)
        )),
    }
}

/// What PASV tells may be wrong although nothing says so.
fn look_at_the_address(seen: &SeenSign) -> String {
    match seen.detail.announced {
        Some(announced) if announced.is_another() => format!(
            "and is {} the address by which this partner reaches the server? PASV tells it: `public_address` in [ftps]",
            announced.address
        ),
        _ => "`layover check` says what address PASV tells".to_owned(),
    }
}

/// PASV tells an address to which nothing comes, and the address is the first to look at.
pub(super) fn address_unreached(chart: &Chart, seen: &SeenSign, finding: &Finding) -> Advice {
    let from = plain(finding.network);
    let missed = spans(&finding.missed_ranges);
    let Some(announced) = seen.detail.announced else {
        return no_data_connection(chart, seen, finding);
    };
    let (address, reached) = (announced.address, announced.reached);
    let is_out_of_reach = match finding.network {
        Network::Block(block) => announced.is_out_of_reach(block.addr()),
        Network::Any => false,
    };
    let comes_by_epsv = || {
        let by_epsv = chart.beside_it(seen, Sign::DataArrived);
        by_epsv.is_some_and(|came| came.last_at >= seen.first_at)
    };
    let why = if comes_by_epsv() {
        "by EPSV, which tells no address, data connections come".to_owned()
    } else if is_out_of_reach {
        "that is an address of a private network, and the client is in none".to_owned()
    } else {
        format!("its control connection came to {reached}")
    };
    let set = match announced.is_another() {
        true => format!(
            "PASV tells {address} because of `public_address` in [ftps]: it must be the address by which this partner reaches the server"
        ),
        false => "set `public_address` in [ftps] to the address by which partners reach the server"
            .to_owned(),
    };
    ours(
        format!(
            "the client at {from} is told {address} by PASV for its data connections ({missed}), and none comes; {why}"
        ),
        format!(
            "{set}, and our firewall or NAT must pass its data ports on; meanwhile the partner may switch its client to EPSV"
        ),
    )
}
