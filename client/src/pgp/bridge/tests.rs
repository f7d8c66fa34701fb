use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::pgp::{
    Compression, Form, KeyPlan, Limits, OwnKey, OwnKeys, PartnerKey, Refusal, SenderRule,
};

fn keys() -> Arc<OwnKeys> {
    let key = OwnKey::generate(&KeyPlan {
        user_id: "layover",
        created_at: "2026-06-01T12:00:00Z".parse().expect("a moment"),
        expires_at: None,
    });
    Arc::new(OwnKeys::new(key.expect("make a key")))
}

fn sealing(keys: &OwnKeys) -> EncryptOptions {
    let armored = keys.newest().public_armored().expect("armor");
    EncryptOptions {
        to: Arc::new(PartnerKey::read(armored.as_bytes()).expect("read it")),
        sign_with: None,
        form: Form::Binary,
        compression: Compression::None,
        now: "2026-06-01T12:00:00Z".parse().expect("a moment"),
    }
}

fn opening(keys: &Arc<OwnKeys>) -> DecryptOptions {
    DecryptOptions {
        keys: Arc::clone(keys),
        sender: SenderRule::Anyone,
        limits: Limits::default(),
        now: "2026-06-01T12:00:00Z".parse().expect("a moment"),
    }
}

#[tokio::test]
async fn a_stream_is_encrypted_and_decrypted_on_its_way() {
    let keys = keys();
    for length in [0, 1, PIECE_BYTES, 5_000_000] {
        let plain = vec![7; length];
        let source = std::io::Cursor::new(plain.clone());
        let mut encrypting = Encrypting::new(source, sealing(&keys));
        let mut decrypting = Decrypting::new(Vec::new(), opening(&keys));
        let moved = tokio::io::copy(&mut encrypting, &mut decrypting)
            .await
            .expect("move it");
        let outcome = encrypting.outcome().expect("it ended");
        assert_eq!(outcome.plain_bytes, length as u64);
        assert_eq!(outcome.encrypted_bytes, moved);
        let (staging, done) = decrypting.finish().await;
        assert_eq!(done.expect("it is whole").plain_bytes, length as u64);
        assert!(staging.expect("given back") == plain);
    }
}

#[tokio::test]
async fn a_refused_file_fails_the_writer_and_finish_says_why() {
    let keys = keys();
    let mut decrypting = Decrypting::new(Vec::new(), opening(&keys));
    let mut refused = None;
    for _ in 0..100 {
        if let Err(error) = decrypting.write_all(&[b'x'; 100_000]).await {
            refused = Some(error.kind());
            break;
        }
    }
    assert_eq!(refused, Some(io::ErrorKind::BrokenPipe));
    let (staging, done) = decrypting.finish().await;
    assert_eq!(staging, Some(Vec::new()));
    assert!(matches!(
        done,
        Err(DecryptError::Undecryptable {
            cause: Refusal::NotOpenPgp { .. }
        })
    ));
}

#[tokio::test]
async fn a_file_that_ends_early_is_refused_by_finish() {
    let keys = keys();
    let mut file = Vec::new();
    super::super::encrypt(&[7; 100_000][..], &mut file, &sealing(&keys)).expect("encrypt");
    let mut decrypting = Decrypting::new(Vec::new(), opening(&keys));
    decrypting
        .write_all(&file[..file.len() - 1])
        .await
        .expect("write");
    let (_, done) = decrypting.finish().await;
    assert!(matches!(done, Err(DecryptError::Undecryptable { .. })));
}

#[tokio::test]
async fn a_source_that_fails_fails_the_encrypted_stream() {
    struct Failing;
    impl AsyncRead for Failing {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("the disk is gone")))
        }
    }
    let mut encrypting = Encrypting::new(Failing, sealing(&keys()));
    let error = encrypting
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("no end without all of it");
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    assert!(
        matches!(inner, Some(EncryptError::Source(cause)) if cause.to_string() == "the disk is gone")
    );
    assert_eq!(encrypting.outcome(), None);
}

/// A sink or source that says when its thread let go of it.
struct Watched(Option<tokio::sync::oneshot::Sender<()>>);

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A partner that says nothing more.
        Poll::Pending
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

#[tokio::test]
async fn dropping_either_end_ends_the_thread() {
    let keys = keys();
    let (gone, let_go) = tokio::sync::oneshot::channel();
    let mut decrypting = Decrypting::new(Watched(Some(gone)), opening(&keys));
    decrypting.write_all(&[0xc1]).await.expect("write");
    drop(decrypting);
    let_go.await.expect("the thread ended");

    let (gone, let_go) = tokio::sync::oneshot::channel();
    let encrypting = Encrypting::new(Watched(Some(gone)), sealing(&keys));
    drop(encrypting);
    let_go.await.expect("the source was let go");
}
