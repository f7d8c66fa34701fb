//! What a client asks for on its connection: a login, and channels that speak SFTP alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use layover_retention::Clock;
use russh::client::GexParams;
use russh::kex::dh::groups::DhGroup;
use russh::keys::ssh_key::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session as SshSession,
    VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::login::Login;
use crate::activity::Activity;
use crate::channel::{self, ChannelContext, Purpose};
use crate::transport;

/// Channels that one connection may have open (S04). OpenSSH's multiplexing
/// allows 10 by default; each `sftp` uses one.
const MAX_CHANNELS: usize = 8;

/// What every channel gets.
pub(super) struct ContextParts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) activity: Arc<Activity>,
    pub(super) stall_timeout: Duration,
    pub(super) soft: CancellationToken,
    pub(super) hard: CancellationToken,
}

/// The handler of one connection.
pub(super) struct Connection {
    login: Login,
    /// What each open channel is for; its task waits for the word.
    pending: HashMap<ChannelId, watch::Sender<Purpose>>,
    channels: TaskTracker,
    context: ContextParts,
}

impl Connection {
    pub(super) fn new(login: Login, channels: TaskTracker, context: ContextParts) -> Self {
        Self {
            login,
            pending: HashMap::new(),
            channels,
            context,
        }
    }

    fn refuse_request(
        &self,
        channel: ChannelId,
        what: &'static str,
        ssh: &mut SshSession,
    ) -> Result<(), russh::Error> {
        tracing::info!(peer.addr = %self.login.peer(), outcome = "refused", "{what} refused: this server does sftp alone");
        ssh.channel_failure(channel)
    }
}

async fn reject(reply: ChannelOpenHandle) -> Result<(), russh::Error> {
    reply
        .reject(ChannelOpenFailure::AdministrativelyProhibited)
        .await;
    Ok(())
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.login.banner())
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        Ok(self.login.none(user))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.login.password(user, password).await
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        self.login.questions(user, response).await
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.login.offered(user, offer).await
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.login.key(user, key).await
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        self.login.certificate(user, certificate).await
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        let Some(session) = self.login.session().cloned() else {
            return reject(reply).await;
        };
        self.pending.retain(|_, purpose| !purpose.is_closed());
        if self.pending.len() >= MAX_CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let (say, purpose) = watch::channel(Purpose::Unknown);
        self.pending.insert(channel.id(), say);
        let context = ChannelContext {
            session,
            clock: Arc::clone(&self.context.clock),
            activity: Arc::clone(&self.context.activity),
            stall_timeout: self.context.stall_timeout,
            soft: self.context.soft.clone(),
            hard: self.context.hard.clone(),
        };
        let (from_client, to_client) = channel.split();
        self.channels
            .spawn(channel::serve(context, from_client, to_client, purpose));
        reply.accept().await;
        Ok(())
    }

    async fn lookup_dh_gex_group(
        &mut self,
        wish: &GexParams,
    ) -> Result<Option<DhGroup>, Self::Error> {
        Ok(transport::group_for(wish))
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.pending.remove(&channel);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        match self.pending.get(&channel) {
            Some(purpose) if name == "sftp" && *purpose.borrow() == Purpose::Unknown => {
                purpose.send_replace(Purpose::Sftp);
                Ok(ssh.channel_success(channel)?)
            }
            _ => self.refuse_request(channel, "another subsystem", ssh),
        }
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _data: &[u8],
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "a command", ssh)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "a shell", ssh)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "a terminal", ssh)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "X11 forwarding", ssh)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        // OpenSSH sends LANG with every session: no word of it in the log.
        ssh.channel_failure(channel)
    }

    async fn signal(
        &mut self,
        _channel: ChannelId,
        _signal: Sig,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator: &str,
        _port: u32,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }
}
