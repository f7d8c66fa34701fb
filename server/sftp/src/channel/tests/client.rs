//! A client that speaks to a dispatcher directly and reads its replies when it
//! likes to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;
use crate::channel::{ChannelContext, ChannelFault, Dispatcher};
use crate::codec::{self, Body, Code, Frames, Packet, open_flag};
use crate::fixture::{Wire, World};
use crate::outbox::{Outbox, Outgoing};

pub(super) const FRESH: u32 = open_flag::WRITE | open_flag::CREAT | open_flag::TRUNC;

/// A reply, its request number taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) kind: u8,
    pub(super) body: Bytes,
}

impl Reply {
    /// The code of a status.
    pub(super) fn code(&self) -> Option<u32> {
        (self.kind == 101).then(|| (&self.body[..4]).get_u32())
    }

    pub(super) fn is(&self, code: Code) -> bool {
        self.code() == Some(code as u32)
    }

    /// The string behind the kind: of a handle, or of file data.
    pub(super) fn string(&self) -> Bytes {
        let mut body = self.body.clone();
        let length = body.get_u32() as usize;
        body.split_to(length)
    }
}

pub(super) struct Client {
    pub(super) world: World,
    pub(super) dispatcher: Dispatcher,
    pub(super) activity: Arc<Activity>,
    pub(super) soft: CancellationToken,
    outgoing: Outgoing,
    replies: Frames,
    next_id: u32,
}

impl Client {
    /// A client that has not said a word.
    pub(super) async fn silent() -> Self {
        let world = World::new().await;
        let activity = Arc::<Activity>::default();
        let soft = CancellationToken::new();
        let context = ChannelContext {
            session: world.session().await,
            clock: world.clock.clone(),
            activity: Arc::clone(&activity),
            stall_timeout: Duration::from_secs(120),
            soft: soft.clone(),
            hard: CancellationToken::new(),
        };
        let (outbox, outgoing) = Outbox::new(Arc::clone(&activity));
        Self {
            world,
            dispatcher: Dispatcher::new(context, outbox),
            activity,
            soft,
            outgoing,
            replies: Frames::default(),
            next_id: 1,
        }
    }

    /// A client that has said INIT and read the answer.
    pub(super) async fn new() -> Self {
        let mut client = Self::silent().await;
        client.send(Wire::new(1).u32(3).framed()).await.unwrap();
        assert_eq!(client.packets()[0][0], 2, "VERSION");
        client
    }

    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<(), ChannelFault> {
        keep_for_fuzzing(&bytes);
        self.dispatcher.take(bytes).await
    }

    /// Sends a request and does not read; returns its number.
    pub(super) async fn post(&mut self, kind: u8, fill: impl FnOnce(Wire) -> Wire) -> u32 {
        let (id, packet) = self.prepare(kind, fill);
        self.send(packet).await.unwrap();
        id
    }

    /// A request, not sent.
    pub(super) fn prepare(&mut self, kind: u8, fill: impl FnOnce(Wire) -> Wire) -> (u32, Bytes) {
        let id = self.next_id;
        self.next_id += 1;
        (id, fill(Wire::new(kind).u32(id)).framed())
    }

    /// Reads what has been sent so far; waits for nothing.
    ///
    /// Outside Tokio's budget of a task: where every await of a test happened
    /// to be ready, that would end and make a full queue look empty.
    fn packets(&mut self) -> Vec<Bytes> {
        let mut packets = Vec::new();
        while let Some(Some(portion)) = unconstrained(self.outgoing.next()).now_or_never() {
            self.outgoing.handed_over(portion.cost);
            self.replies.push(portion.bytes);
            while let Some(packet) = self.replies.next_packet().unwrap() {
                packets.push(packet);
            }
        }
        packets
    }

    /// Reads what has been sent so far, by request number.
    pub(super) fn read(&mut self) -> HashMap<u32, Reply> {
        self.read_in_order().into_iter().collect()
    }

    /// Reads what has been sent so far, oldest first.
    pub(super) fn read_in_order(&mut self) -> Vec<(u32, Reply)> {
        self.packets()
            .into_iter()
            .map(|mut body| {
                let kind = body.get_u8();
                (body.get_u32(), Reply { kind, body })
            })
            .collect()
    }

    /// Sends a request and reads its reply, and nothing else.
    pub(super) async fn ask(&mut self, kind: u8, fill: impl FnOnce(Wire) -> Wire) -> Reply {
        let id = self.post(kind, fill).await;
        let mut replies = self.read();
        assert_eq!(replies.len(), 1, "one request, one reply");
        replies.remove(&id).unwrap()
    }

    pub(super) async fn open(&mut self, path: &str, flags: u32) -> Reply {
        self.ask(3, |wire| wire.string(path).u32(flags).u32(0))
            .await
    }

    /// A handle, of an OPEN that must succeed.
    pub(super) async fn opened(&mut self, path: &str, flags: u32) -> Bytes {
        let reply = self.open(path, flags).await;
        assert_eq!(reply.kind, 102, "{path}: {reply:?}");
        reply.string()
    }

    pub(super) async fn write(&mut self, handle: &Bytes, offset: u64, data: &[u8]) -> Reply {
        self.ask(6, |wire| wire.string(handle).u64(offset).string(data))
            .await
    }

    pub(super) async fn close(&mut self, handle: &Bytes) -> Reply {
        self.ask(4, |wire| wire.string(handle)).await
    }

    pub(super) async fn put(&mut self, path: &str, content: &[u8]) {
        let handle = self.opened(path, FRESH).await;
        for (number, piece) in content.chunks(128 * 1024).enumerate() {
            let offset = (number * 128 * 1024) as u64;
            assert!(self.write(&handle, offset, piece).await.is(Code::Ok));
        }
        assert!(self.close(&handle).await.is(Code::Ok));
    }
}

/// Where `tests/run --fuzz` wants the packets of these tests; not set else.
const CORPUS: &str = "LAYOVER_TEST_CORPUS";

/// Longer ones hold file data, from which a fuzzer learns nothing.
const MAX_SEED_BYTES: usize = 2048;

/// Makes a packet, and the path in it, a beginning for the fuzz targets.
fn keep_for_fuzzing(packet: &Bytes) {
    let Some(corpus) = std::env::var_os(CORPUS) else {
        return;
    };
    // One of a kind and length is enough.
    let keep = |target: &str, seed: &[u8]| {
        let folder = std::path::Path::new(&corpus).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        let kind = packet.get(4).copied().unwrap_or_default();
        let seed_bytes = seed.len();
        let file = folder.join(format!("{kind}-{seed_bytes}"));
        if seed_bytes <= MAX_SEED_BYTES && !file.exists() {
            std::fs::write(file, seed).unwrap();
        }
    };
    // The codec's target reads first how the stream is cut.
    keep("codec", &[&[64], &packet[..]].concat());
    if packet.len() > 4
        && let Ok(Packet::Request(request)) = codec::parse(packet.slice(4..))
        && let Body::Open { path, .. }
        | Body::Stat { path }
        | Body::Opendir { path }
        | Body::Realpath { path }
        | Body::ExpandPath { path } = request.body
    {
        keep("path", &path);
    }
}
