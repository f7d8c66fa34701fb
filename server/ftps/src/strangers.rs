//! How much strangers may have written down: nobody has proved anything, and each entry
//! takes a row of the journal.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use layover_depot::timer::Stopwatch;

/// Of all networks: so many entries at once, and one more each second.
const OF_ALL: Rate = Rate {
    most: 60,
    every_s: 1,
};

/// Of one network: a flood from it leaves the others their part of [`OF_ALL`].
const OF_A_NETWORK: Rate = Rate {
    most: 30,
    every_s: 30,
};

/// Networks that are told apart; more of them share [`OF_ALL`] alone.
const MAX_NETWORKS: usize = 1_000;

/// Entries of strangers that may still be written.
#[derive(Debug)]
pub(crate) struct Budget {
    running: Stopwatch,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    of_all: Bucket,
    of_networks: HashMap<Network, Bucket>,
}

/// A /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u16; 3]),
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    most: u64,
    every_s: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    /// The second from which on the next one grows.
    since_s: u64,
}

impl Network {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                Self::V6([a, b, c])
            }
        }
    }
}

impl Bucket {
    fn full(rate: Rate, now_s: u64) -> Self {
        Self {
            left: rate.most,
            since_s: now_s,
        }
    }

    fn refill(&mut self, rate: Rate, now_s: u64) {
        let grown = now_s.saturating_sub(self.since_s) / rate.every_s;
        self.left = self.left.saturating_add(grown);
        self.since_s += grown * rate.every_s;
        if self.left >= rate.most {
            *self = Self::full(rate, now_s);
        }
    }
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            running: Stopwatch::start(),
            left: Mutex::new(Left {
                of_all: Bucket::full(OF_ALL, 0),
                of_networks: HashMap::new(),
            }),
        }
    }

    /// Whether one more may be written, of this peer.
    pub(crate) fn take(&self, peer: IpAddr) -> bool {
        let now_s = self.running.elapsed().as_secs();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.take(Network::of(peer), now_s)
    }
}

impl Left {
    fn take(&mut self, network: Network, now_s: u64) -> bool {
        self.of_all.refill(OF_ALL, now_s);
        if self.of_all.left == 0 {
            return false;
        }
        if self.of_networks.len() >= MAX_NETWORKS && !self.of_networks.contains_key(&network) {
            // Those that have all of theirs again need not be known.
            self.of_networks.retain(|_, bucket| {
                bucket.refill(OF_A_NETWORK, now_s);
                bucket.left < OF_A_NETWORK.most
            });
        }
        let is_known = self.of_networks.contains_key(&network);
        if is_known || self.of_networks.len() < MAX_NETWORKS {
            let bucket = self
                .of_networks
                .entry(network)
                .or_insert_with(|| Bucket::full(OF_A_NETWORK, now_s));
            bucket.refill(OF_A_NETWORK, now_s);
            if bucket.left == 0 {
                return false;
            }
            bucket.left -= 1;
        }
        self.of_all.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left() -> Left {
        Left {
            of_all: Bucket::full(OF_ALL, 0),
            of_networks: HashMap::new(),
        }
    }

    fn network(number: u64) -> Network {
        let [.., a, b] = number.to_be_bytes();
        Network::V4([10, a, b])
    }

    /// How many of so many one after the other.
    fn taken(left: &mut Left, network: Network, of: u64, now_s: u64) -> u64 {
        (0..of).filter(|_| left.take(network, now_s)).count() as u64
    }

    #[test]
    fn a_flood_from_one_network_leaves_the_others_theirs() {
        let mut left = left();
        let flood = network(0);
        assert_eq!(taken(&mut left, flood, 1_000, 0), OF_A_NETWORK.most);
        assert!(left.take(network(1), 0));
        for now_s in 1..30 {
            assert!(!left.take(flood, now_s), "{now_s}");
        }
        assert_eq!(taken(&mut left, flood, 10, 30), 1, "one each half minute");
        assert_eq!(taken(&mut left, flood, 10, 59), 0);
        let later_s = 60 + OF_A_NETWORK.most * OF_A_NETWORK.every_s;
        assert_eq!(taken(&mut left, flood, 1_000, later_s), OF_A_NETWORK.most);
    }

    #[test]
    fn all_networks_together_have_a_bound() {
        let mut left = left();
        let of_all = |left: &mut Left, now_s| {
            let networks = (0..1_000).map(network);
            networks.filter(|one| left.take(*one, now_s)).count() as u64
        };
        assert_eq!(of_all(&mut left, 0), OF_ALL.most);
        assert_eq!(of_all(&mut left, 7), 7, "one a second");
    }

    #[test]
    fn so_many_networks_are_told_apart_and_no_more() {
        let mut left = left();
        for number in 0..2 * MAX_NETWORKS as u64 {
            // Slowly: the common budget is never used up.
            assert!(left.take(network(number), number / 50 * 50), "{number}");
            assert!(left.of_networks.len() <= MAX_NETWORKS);
        }
        // Long after, those of before are forgotten.
        assert!(left.take(network(5_000), 100_000));
        assert!(left.of_networks.contains_key(&network(5_000)));
    }

    #[test]
    fn an_address_is_known_by_its_network() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.255"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:ff::9"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
    }
}
