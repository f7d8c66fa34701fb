//! OpenPGP from standard input to standard output, for measuring time and
//! memory beside `gpg`:
//!
//!     pgp make > ours                                   # private key, in hexadecimal
//!     pgp public "$(cat ours)" > ours.asc
//!     pgp encrypt "$(cat partner.asc)" < plain > file
//!     pgp encrypt-signed "$(cat partner.asc)" "$(cat ours)" < plain > file
//!     pgp decrypt "$(cat ours)" < file > plain
//!
//! It knows no clock: keys are made and used at the first second of 2026.

use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::sync::Arc;

use jiff::Timestamp;
use layover_client::pgp::{
    Compression, DecryptOptions, EncryptOptions, Form, KeyPlan, Limits, OwnKey, OwnKeys,
    PartnerKey, SenderRule, decrypt, encrypt,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let now: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    let ours = |hexadecimal: &str| -> Result<Arc<OwnKeys>, Box<dyn Error>> {
        let bytes = hex::decode(hexadecimal.trim())?;
        Ok(Arc::new(OwnKeys::from_bytes(&bytes)?))
    };
    let sealing = |partner: &str, sign_with| -> Result<EncryptOptions, Box<dyn Error>> {
        Ok(EncryptOptions {
            to: Arc::new(PartnerKey::read(partner.as_bytes())?),
            sign_with,
            form: Form::Binary,
            compression: Compression::None,
            now,
        })
    };
    match arguments.as_slice() {
        ["make"] => {
            let key = OwnKey::generate(&KeyPlan {
                user_id: "Layover measured",
                created_at: now,
                expires_at: None,
            })?;
            writeln!(stdout(), "{}", hex::encode(OwnKeys::new(key).to_bytes()?))?;
        }
        ["public", key] => write!(stdout(), "{}", ours(key)?.newest().public_armored()?)?,
        ["encrypt", partner] => {
            encrypt(stdin().lock(), stdout().lock(), &sealing(partner, None)?)?;
        }
        ["encrypt-signed", partner, key] => {
            let options = sealing(partner, Some(ours(key)?))?;
            encrypt(stdin().lock(), stdout().lock(), &options)?;
        }
        ["decrypt", key] => {
            let options = DecryptOptions {
                keys: ours(key)?,
                sender: SenderRule::Anyone,
                limits: Limits::default(),
                now,
            };
            decrypt(stdin(), stdout().lock(), &options)?;
        }
        _ => {
            return Err(
                "make | public KEY | encrypt PARTNER | encrypt-signed PARTNER KEY | decrypt KEY"
                    .into(),
            );
        }
    }
    Ok(())
}
