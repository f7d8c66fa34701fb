//! Passwords: argon2id, as many at a time as there are cores, and always the
//! same work, whether there is an account or not (G03).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use argon2::password_hash::{self, Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::Secret;

/// Longest password, in bytes; a longer one is wrong.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Checks that may wait for a core. One takes about 30 ms, so that the last
/// of the queue waits a few seconds; more are refused at once.
const MAX_WAITING: usize = 512;

/// OWASP Password Storage Cheat Sheet: m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What an unknown account's password is checked against: the parameters
/// above, and an output that no password gives.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// More checks wait than the queue has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many password checks at once")]
pub(crate) struct Overloaded;

/// Why a password cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is empty or longer than [`MAX_PASSWORD_BYTES`].
    #[error("a password has 1 to {MAX_PASSWORD_BYTES} bytes")]
    Length,
    /// The hash cannot be computed.
    #[error("the password hash cannot be computed: {reason}")]
    Hash {
        /// What the library said.
        reason: String,
    },
}

/// Computes and checks password hashes.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    cores: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    boards: Arc<Boards>,
    /// How many passwords were checked, for the tests of G03.
    #[cfg(test)]
    pub(crate) checks: Arc<AtomicUsize>,
}

/// The memory of checks, used again by the next ones: never more of it than checks ran
/// at once. Memory that each check takes anew comes from whichever thread runs
/// it, and the allocator keeps a share for each of them: half a GiB after a
/// crowd of logins.
#[derive(Debug, Default)]
struct Boards(Mutex<Vec<Vec<Block>>>);

impl Boards {
    fn lend(&self) -> Vec<Block> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn take_back(&self, board: Vec<Block>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(board);
    }
}

/// A place in the queue; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cores: Arc::new(Semaphore::new(cores)),
            waiting: Arc::default(),
            boards: Arc::default(),
            #[cfg(test)]
            checks: Arc::default(),
        }
    }

    /// Whether `password` belongs to `hash`; without a hash the answer is no,
    /// after the same work.
    pub(crate) async fn verify(
        &self,
        hash: Option<String>,
        password: Secret,
    ) -> Result<bool, Overloaded> {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(Overloaded);
        }
        let place = Place(Arc::clone(&self.waiting));
        let Ok(core) = Arc::clone(&self.cores).acquire_owned().await else {
            return Err(Overloaded);
        };
        #[cfg(test)]
        self.checks.fetch_add(1, Ordering::AcqRel);
        let boards = Arc::clone(&self.boards);
        let check = move || {
            // Given back behind the memory, which so is that of the next check.
            let _held = (core, place);
            let mut board = boards.lend();
            let matches = verify_now(hash.as_deref(), &password, &mut board);
            boards.take_back(board);
            matches
        };
        Ok(tokio::task::spawn_blocking(check).await.unwrap_or(false))
    }

    /// The hash to be kept, in PHC form, with a fresh salt.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        if password.expose().is_empty() || password.expose().len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::Length);
        }
        tokio::task::spawn_blocking(move || hash_now(&password))
            .await
            .map_err(|error| PasswordError::Hash {
                reason: error.to_string(),
            })?
    }
}

fn verify_now(hash: Option<&str>, password: &Secret, board: &mut Vec<Block>) -> bool {
    let fits = password.expose().len() <= MAX_PASSWORD_BYTES;
    let given = if fits { password.expose() } else { b"" };
    let stored = hash.filter(|_| fits).unwrap_or(NOBODY);
    let matches = PasswordHash::new(stored).and_then(|parsed| matches(given, &parsed, board));
    matches == Ok(true) && hash.is_some() && fits
}

/// As `PasswordVerifier` does it, but for the memory. The parameters are the stored hash's own.
fn matches(
    password: &[u8],
    stored: &PasswordHash<'_>,
    board: &mut Vec<Block>,
) -> password_hash::Result<bool> {
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
        return Ok(false);
    };
    let algorithm = Algorithm::try_from(stored.algorithm)?;
    let version = stored.version.map(Version::try_from).transpose()?;
    let params = Params::try_from(stored)?;
    if board.len() < params.block_count() {
        board.resize(params.block_count(), Block::default());
    }
    let mut salt_bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut salt_bytes)?;
    let argon2 = Argon2::new(algorithm, version.unwrap_or_default(), params);
    let computed = Output::init_with(expected.len(), |out| {
        Ok(argon2.hash_password_into_with_memory(password, salt, out, board)?)
    })?;
    // Compared in constant time.
    Ok(computed == expected)
}

fn hash_now(password: &Secret) -> Result<String, PasswordError> {
    let failed = |reason: String| PasswordError::Hash { reason };
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|error| failed(error.to_string()))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| failed(error.to_string()))?;
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| failed(error.to_string()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.expose(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_its_hash_and_no_other() {
        let hash = hash_now(&Secret::new("correct horse")).unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        // The memory of one check is no matter for the next.
        let mut board = Vec::new();
        let mut opens = |password: &str| {
            let password = Secret::new(password);
            verify_now(Some(&hash), &password, &mut board)
        };
        assert!(opens("correct horse"));
        assert!(!opens("correct horsf"));
        assert!(!opens(""));
        assert!(opens("correct horse"));
    }

    #[test]
    fn nobody_has_a_hash_of_the_same_cost_that_nothing_opens() {
        let parsed = PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        let mut board = Vec::new();
        assert!(!verify_now(None, &Secret::new(""), &mut board));
        assert!(!verify_now(
            Some(NOBODY),
            &Secret::new("nobody"),
            &mut board
        ));
    }

    #[tokio::test]
    async fn a_password_beyond_the_limit_is_refused_and_never_right() {
        let passwords = Passwords::new();
        let most = Secret::new(vec![b'x'; MAX_PASSWORD_BYTES]);
        let hash = passwords.hash(most.clone()).await.unwrap();
        assert!(passwords.verify(Some(hash.clone()), most).await.unwrap());
        let more = Secret::new(vec![b'x'; MAX_PASSWORD_BYTES + 1]);
        assert_eq!(
            passwords.hash(more.clone()).await,
            Err(PasswordError::Length)
        );
        assert!(!passwords.verify(Some(hash), more).await.unwrap());
        assert_eq!(
            passwords.hash(Secret::new("")).await,
            Err(PasswordError::Length)
        );
    }

    /// Hashes that another program made, with other parameters.
    #[test]
    fn a_stored_hash_is_checked_with_its_own_parameters() {
        let (salt, mut board) = (SaltString::encode_b64(b"some salt").unwrap(), Vec::new());
        for (algorithm, version, memory_kib, lanes) in [
            (Algorithm::Argon2id, Version::V0x13, 64, 2),
            (Algorithm::Argon2i, Version::V0x10, 4096, 1),
            (Algorithm::Argon2d, Version::V0x13, 8, 1),
        ] {
            let params = Params::new(memory_kib, 3, lanes, Some(24)).unwrap();
            let argon2 = Argon2::new(algorithm, version, params);
            let hash = argon2.hash_password(b"correct horse", &salt).unwrap();
            let hash = hash.to_string();
            let right = Secret::new("correct horse");
            assert!(verify_now(Some(&hash), &right, &mut board), "{hash}");
            let wrong = Secret::new("wrong");
            assert!(!verify_now(Some(&hash), &wrong, &mut board), "{hash}");
        }
        for broken in [
            "",
            "$argon2id$",
            "$5$salt$hash",
            "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ",
        ] {
            assert!(
                !verify_now(Some(broken), &Secret::new(""), &mut board),
                "{broken}"
            );
        }
    }

    #[tokio::test]
    async fn checks_use_each_others_memory() {
        let passwords = Passwords::new();
        for _ in 0..3 {
            let checks = [(); 4].map(|()| passwords.verify(None, Secret::new("x")));
            let [a, b, c, d] = checks;
            let (a, b, c, d) = tokio::join!(a, b, c, d);
            assert_eq!([a, b, c, d], [Ok(false); 4]);
        }
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        let kept = passwords.boards.0.lock().unwrap().len();
        assert!((1..=cores).contains(&kept), "{kept} for {cores} cores");
    }

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let passwords = Passwords::new();
        passwords.waiting.store(MAX_WAITING, Ordering::Release);
        assert_eq!(
            passwords.verify(None, Secret::new("x")).await,
            Err(Overloaded)
        );
        passwords.waiting.store(MAX_WAITING - 1, Ordering::Release);
        assert_eq!(passwords.verify(None, Secret::new("x")).await, Ok(false));
        assert_eq!(passwords.waiting.load(Ordering::Acquire), MAX_WAITING - 1);
    }
}
