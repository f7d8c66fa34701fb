//! Connections: one request each, within limits of bytes and time.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use layover_depot::{AcceptTroubles, Acceptor, Depot, timer};
use layover_retention::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answers::answer;
use crate::facts::Facts;
use crate::figures::Asked;
use crate::places::{Place, Places};

/// Connections at a time. For a further one that gives way which has been silent for
/// the longest; where all have asked for something, it is closed without an answer. A
/// monitoring system has one, an operator's browser a few.
pub const MAX_CONNECTIONS: usize = 16;

/// Bytes of a request's line and headers.
pub const MAX_HEAD_BYTES: usize = 4_096;

/// Headers of a request.
pub const MAX_HEADERS: usize = 32;

/// How long a peer may take to send them.
pub const HEAD_LIMIT: Duration = Duration::from_secs(2);

/// How long a connection may last in all.
pub const CONNECTION_LIMIT: Duration = Duration::from_secs(20);

/// What every request needs.
pub(crate) struct Shared {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) facts: Box<dyn Fn() -> Facts + Send + Sync>,
    pub(crate) asked: Asked,
}

/// Answers for one appliance. Clones are the same.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// `facts` is asked with each request; it must not wait.
    pub fn new(
        depot: Depot,
        clock: Arc<dyn Clock>,
        facts: impl Fn() -> Facts + Send + Sync + 'static,
    ) -> Self {
        let asked = Asked::new(depot.clone());
        Self {
            shared: Arc::new(Shared {
                depot,
                clock,
                facts: Box::new(facts),
                asked,
            }),
        }
    }

    /// Answers whoever connects to `socket`, until `stop`; then ends at once.
    pub async fn serve(self, socket: TcpListener, stop: CancellationToken) {
        let mut acceptor = Acceptor::new(AcceptTroubles::default());
        let places = Places::default();
        let connections = TaskTracker::new();
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = acceptor.next(|| socket.accept()) => accepted,
            };
            let Some(place) = places.take() else {
                tracing::debug!(peer.addr = %peer, "the console has no room for a connection");
                continue;
            };
            let (console, stop) = (self.clone(), stop.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = place.gives_way.cancelled() => {
                        tracing::debug!(peer.addr = %peer, "a silent connection to the console gave way");
                    }
                    ended = timer::timeout(CONNECTION_LIMIT, console.converse(stream, peer, &place)) => {
                        if ended.is_err() {
                            tracing::debug!(peer.addr = %peer, "a connection to the console took too long");
                        }
                    }
                }
            });
        }
        connections.close();
        connections.wait().await;
    }

    /// One request, one answer.
    async fn converse(&self, stream: TcpStream, peer: SocketAddr, place: &Place) {
        let service = service_fn(|request| async move {
            place.has_asked();
            Ok::<_, Infallible>(answer(&self.shared, &request).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(
                peer.addr = %peer,
                error = &error as &dyn std::error::Error,
                "a connection to the console ended early"
            );
        }
    }
}
