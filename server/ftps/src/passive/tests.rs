//! Ports on loopback: 127.0.0.1 and 127.0.0.2 are two clients.

use std::net::Ipv4Addr;

use tokio::io::AsyncReadExt;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// A range of `size` ports, free when it is looked at.
fn range(size: u16) -> RangeInclusive<u16> {
    let probe = || {
        let first = rand::random_range(20_000..30_000 - size);
        let ports = first..=first + size - 1;
        ports
            .clone()
            .all(|port| std::net::TcpListener::bind((LOCAL, port)).is_ok())
            .then_some(ports)
    };
    std::iter::repeat_with(probe).flatten().next().unwrap()
}

/// Without load balancers.
fn allocator(ports: RangeInclusive<u16>) -> Allocator {
    Allocator::new(ports, Balancers::default())
}

/// Ports that the operating system refused, when none is left.
fn refused_ports(allocator: &Allocator) -> usize {
    match allocator.listen(LOCAL, CLIENT) {
        Err(Exhausted::Ports { refused, .. }) => refused,
        other => panic!("{other:?}"),
    }
}

async fn connect(from: IpAddr, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect((LOCAL, port).into()).await.unwrap()
}

#[tokio::test]
async fn f12_every_port_is_given_and_given_again() {
    // F12: random tries failed long before the range was used up.
    let allocator = allocator(range(50));
    for _ in 0..3 {
        let held: Vec<_> = (0..50)
            .map(|_| allocator.listen(LOCAL, CLIENT).unwrap())
            .collect();
        let ports: HashSet<_> = held.iter().map(PassiveListener::port).collect();
        assert_eq!(ports.len(), 50);
        let refused = allocator.listen(LOCAL, CLIENT).unwrap_err();
        assert!(refused.to_string().contains("all 50 data ports"));
        assert!(allocator.listen(LOCAL, STRANGER).is_ok());
    }
    let taken = locked(&allocator.shared.taken);
    assert!(taken.by_peer.is_empty() && taken.sockets.is_empty());
}

#[tokio::test]
async fn f12_a_port_that_another_process_holds_is_passed_over_and_tried_again() {
    let ports = range(3);
    let foreign = std::net::TcpListener::bind((LOCAL, *ports.start())).unwrap();
    let allocator = allocator(ports.clone());
    let held: Vec<_> = (0..2)
        .map(|_| allocator.listen(LOCAL, CLIENT).unwrap())
        .collect();
    let refused = allocator.listen(LOCAL, CLIENT).unwrap_err();
    assert!(
        matches!(refused, Exhausted::Ports { refused: 1, .. }),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(
        text.contains("2 are in use by connections from your address")
            && text.contains("1 are held by other programs"),
        "{text}"
    );
    drop(foreign);
    let last = allocator.listen(LOCAL, CLIENT).unwrap();
    assert_eq!(last.port(), *ports.start());
    drop(held);
}

#[tokio::test]
async fn f12_who_holds_no_port_is_not_told_to_end_a_transfer() {
    let ports = range(2);
    let foreign = ports
        .clone()
        .map(|port| std::net::TcpListener::bind((LOCAL, port)).unwrap());
    let _foreign: Vec<_> = foreign.collect();
    let text = allocator(ports).listen(LOCAL, CLIENT).unwrap_err();
    let text = text.to_string();
    assert!(
        text.contains("none of the 2 data ports") && !text.contains("transfer"),
        "{text}"
    );
}

#[tokio::test]
async fn f12_ports_that_others_hold_are_counted_and_the_others_given_back() {
    let ports = range(5);
    let free = PortSurvey::take(LOCAL, ports.clone());
    assert_eq!((free.ports, free.refused.len()), (5, 0));
    let foreign = |port| std::net::TcpListener::bind((LOCAL, port)).unwrap();
    let _held = [foreign(ports.start() + 1), foreign(ports.start() + 3)];
    for address in [LOCAL, IpAddr::V4(Ipv4Addr::UNSPECIFIED)] {
        let busy = PortSurvey::take(address, ports.clone());
        assert_eq!(busy.ports, 5, "{address}");
        assert_eq!(busy.refused, [ports.start() + 1, ports.start() + 3]);
        assert_eq!(busy.fault.unwrap().kind(), std::io::ErrorKind::AddrInUse);
    }
    let allocator = allocator(ports);
    let all: Vec<_> = (0..3)
        .map(|_| allocator.listen(LOCAL, CLIENT).unwrap())
        .collect();
    assert_eq!(refused_ports(&allocator), 2);
    drop(all);
}

#[tokio::test]
async fn f11_a_stranger_does_not_use_up_the_accept() {
    let allocator = allocator(range(1));
    let listener = allocator.listen(LOCAL, CLIENT).unwrap();
    let port = listener.port();
    let cancel = CancellationToken::new();
    let clients = async {
        let mut stranger = connect(STRANGER, port).await;
        let _ = stranger.read(&mut [0; 1]).await;
        connect(CLIENT, port).await
    };
    let (accepted, client) = tokio::join!(listener.accept(LIMIT, &cancel), clients);
    let accepted = accepted.unwrap();
    assert_eq!(
        accepted.stream.peer_addr().unwrap(),
        client.local_addr().unwrap()
    );
    assert!(accepted.stream.nodelay().unwrap());
    assert_eq!((accepted.strangers, allocator.strangers()), (1, 1));
    assert_eq!(accepted.lease.port, port);
    assert!(allocator.listen(LOCAL, CLIENT).is_err());
    drop(accepted);
    assert!(allocator.listen(LOCAL, CLIENT).is_ok());
}

#[tokio::test]
async fn f11_strangers_before_the_transfer_do_not_keep_the_owner_out() {
    // F11: 17 of them filled the queue of the socket.
    let allocator = allocator(range(1));
    let listener = allocator.listen(LOCAL, CLIENT).unwrap();
    let port = listener.port();
    let count = 2 * usize::try_from(BACKLOG).unwrap();
    let clients = async {
        let mut strangers = Vec::new();
        for _ in 0..count {
            strangers.push(connect(STRANGER, port).await);
        }
        let client = connect(CLIENT, port).await;
        for stranger in &mut strangers {
            // Closed, and not only waiting.
            let _ = stranger.read(&mut [0; 1]).await;
        }
        client
    };
    let client = tokio::select! {
        never = listener.tend() => match never {},
        client = timer::timeout(LIMIT, clients) => client.unwrap(),
    };
    let accepted = listener.accept(LIMIT, &CancellationToken::new()).await;
    let accepted = accepted.unwrap();
    assert_eq!(
        accepted.stream.peer_addr().unwrap(),
        client.local_addr().unwrap()
    );
    assert_eq!(accepted.strangers, u64::try_from(count).unwrap());
}

#[tokio::test]
async fn two_clients_that_share_a_port_get_their_own_connections() {
    let allocator = allocator(range(1));
    let (one, two) = (
        allocator.listen(LOCAL, CLIENT).unwrap(),
        allocator.listen(LOCAL, STRANGER).unwrap(),
    );
    let port = one.port();
    let cancel = CancellationToken::new();
    let clients = async { (connect(STRANGER, port).await, connect(CLIENT, port).await) };
    let (first, second, _clients) = tokio::join!(
        one.accept(LIMIT, &cancel),
        two.accept(LIMIT, &cancel),
        clients
    );
    assert_eq!(first.unwrap().stream.peer_addr().unwrap().ip(), CLIENT);
    assert_eq!(second.unwrap().stream.peer_addr().unwrap().ip(), STRANGER);
}

#[tokio::test(start_paused = true)]
async fn f05_waiting_ends_with_the_time_or_the_transfer() {
    let allocator = allocator(range(1));
    let listener = allocator.listen(LOCAL, CLIENT).unwrap();
    let port = listener.port();
    let cancel = CancellationToken::new();
    let waited = listener.accept(LIMIT, &cancel).await.unwrap_err();
    assert_eq!(
        waited,
        AcceptFault::TimedOut {
            port,
            stranger: None
        }
    );
    let listener = allocator.listen(LOCAL, CLIENT).unwrap();
    cancel.cancel();
    let cancelled = listener.accept(LIMIT, &cancel).await.unwrap_err();
    assert!(matches!(cancelled, AcceptFault::Cancelled { .. }));
}

#[test]
fn f14_the_announced_address_follows_the_clients_network_and_its_changes() {
    let (public, inside, later) = (
        Ipv4Addr::new(203, 0, 113, 7),
        Ipv4Addr::new(10, 0, 0, 5),
        Ipv4Addr::new(203, 0, 113, 8),
    );
    let (lan, wan) = ("10.0.0.0/8".parse().unwrap(), "0.0.0.0/1".parse().unwrap());
    let announced = AnnouncedAddress::new(vec![(lan, inside), (wan, public)]);
    let local = IpAddr::from([192, 0, 2, 1]);
    let told = |peer: [u8; 4]| announced.of(local, IpAddr::from(peer)).unwrap();
    assert_eq!(told([10, 9, 9, 9]), inside);
    assert_eq!(told([100, 51, 100, 1]), public);
    assert_eq!(told([198, 51, 100, 1]), Ipv4Addr::new(192, 0, 2, 1));
    announced.replace(vec![(lan, inside), (wan, later)]);
    assert_eq!(told([10, 9, 9, 9]), inside);
    assert_eq!(told([100, 51, 100, 1]), later);
    let v6 = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(announced.of(v6, v6), Err(AnnounceFault::Ipv6));
}

#[tokio::test]
async fn f19_active_mode_reaches_the_control_peer_and_nobody_else() {
    let target = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let address = target.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let (made, _) = tokio::join!(
        connect_active(LOCAL, LOCAL, address, LIMIT, &cancel),
        target.accept()
    );
    assert_eq!(made.unwrap().peer_addr().unwrap(), address);
    let bounced = connect_active(LOCAL, CLIENT, address, LIMIT, &cancel).await;
    assert_eq!(bounced.unwrap_err(), ActiveFault::OtherAddress);
    for (port, allowed) in [(1023, Err(ActiveFault::LowPort)), (1024, Ok(()))] {
        assert_eq!(ActiveFault::check(LOCAL, (LOCAL, port).into()), allowed);
    }
}
