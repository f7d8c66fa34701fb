//! What proves to a partner's server who we are: which secrets an integration
//! has, never their values.

use layover_retention::Timestamp;

use super::reference::SecretReference;
use super::values::{IntegrationProtocol, NotAValue};
use crate::Secret;

/// Longest secret that is kept, in bytes: private keys have a few kilobytes.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Each of them.
            pub const EACH: &[Self] = &[$(Self::$variant),+];

            /// Its word, everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAValue;

            fn from_str(text: &str) -> Result<Self, NotAValue> {
                let mut each = Self::EACH.iter().copied();
                each.find(|one| one.as_str() == text).ok_or(NotAValue)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(
    /// What a secret is for.
    SecretPurpose {
        /// The password.
        Password = "password",
        /// The key of our TLS certificate.
        ClientKey = "client_certificate_key",
        /// What opens that key.
        ClientKeyPassphrase = "client_key_passphrase",
        /// Our SSH key.
        SshKey = "ssh_key",
        /// Our PGP key: opens what the partner sends, signs what we send.
        PgpKey = "pgp_inbound_key",
    }
);
words!(
    /// Which of two keys, while one takes the place of the other.
    SecretSlot {
        /// In use; tried first.
        Current = "current",
        /// The one before, until the partner has the new one.
        Previous = "previous",
    }
);

impl SecretPurpose {
    /// Whether integrations that speak `protocol` have it.
    #[must_use]
    pub fn is_of(self, protocol: IntegrationProtocol) -> bool {
        match self {
            Self::Password | Self::PgpKey => true,
            Self::ClientKey | Self::ClientKeyPassphrase => protocol == IntegrationProtocol::Ftps,
            Self::SshKey => protocol == IntegrationProtocol::Sftp,
        }
    }

    /// Whether we make it ourselves: it is never typed in.
    #[must_use]
    pub fn is_made_here(self) -> bool {
        matches!(self, Self::SshKey | Self::PgpKey)
    }
}

/// A secret as it is given. It has no way to be printed but the reference.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Where it is; resolved whenever it is used.
    Reference(SecretReference),
    /// The value itself.
    Value(Secret),
}

/// A secret for an integration; `None` takes it away.
#[derive(Clone, Debug)]
pub struct GivenSecret {
    /// What it is for.
    pub purpose: SecretPurpose,
    /// The secret.
    pub credential: Option<Credential>,
}

/// In which form a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// By reference: nothing is kept.
    Reference(SecretReference),
    /// Sealed with the master key of this name.
    Sealed {
        /// Which master key.
        key_id: String,
    },
}

impl SecretForm {
    /// For people and the journal: where the secret is, or that it is sealed.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Reference(reference) => reference.to_string(),
            Self::Sealed { key_id } => format!("sealed with master key {key_id}"),
        }
    }
}

/// A secret that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSecret {
    /// What its sealed value is bound to.
    pub(crate) handle: String,
    /// What it is for.
    pub purpose: SecretPurpose,
    /// Which of two.
    pub slot: SecretSlot,
    /// In which form.
    pub form: SecretForm,
    /// The public half of a key.
    pub public: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When the partner was known to have the public half; none: not yet.
    pub confirmed_at: Option<Timestamp>,
}

impl KeptSecret {
    /// For people and the journal: where it is, or that it is sealed.
    #[must_use]
    pub fn told(&self) -> String {
        match &self.form {
            SecretForm::Reference(reference) => reference.to_string(),
            SecretForm::Sealed { key_id } => format!("sealed with master key {key_id}"),
        }
    }
}
