//! Settings with a few possible words.

use crate::schema::Setting;
use crate::value::{Value, quoted};

macro_rules! choice {
    (
        $(#[$about:meta])*
        $Name:ident { $( $(#[$doc:meta])* $Variant:ident = $word:literal, )+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Name { $( $(#[$doc])* $Variant, )+ }

        impl $Name {
            /// The word in the settings.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl Setting for $Name {
            fn read(value: &Value) -> Result<Self, String> {
                match value.text() {
                    $( Some($word) => Ok(Self::$Variant), )+
                    _ => Err([$( concat!("\"", $word, "\"") ),+].join(" or ")),
                }
            }

            fn write(&self) -> String {
                quoted(self.as_str())
            }
        }
    };
}

choice! {
    /// Whether writes are forced to the disk.
    Fsync {
        /// Before an upload is acknowledged.
        Always = "always",
        /// Never; a power cut may lose acknowledged files.
        Never = "never",
    }
}

choice! {
    /// Whether a SHA-256 is computed for each stored file.
    Checksum {
        /// Some time after its arrival.
        Background = "background",
        /// Not at all.
        Off = "off",
    }
}

choice! {
    /// The oldest TLS version that is spoken.
    MinTls {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

choice! {
    /// Whether a data connection must resume its control connection's TLS session.
    SessionReuse {
        /// From clients that can.
        Auto = "auto",
        /// From all clients.
        Require = "require",
        /// From none.
        Off = "off",
    }
}

choice! {
    /// Which SSH algorithms are offered.
    Algorithms {
        /// The best of today.
        Modern = "modern",
        /// Also what clients of the last ten years need.
        Compatible = "compatible",
    }
}

choice! {
    /// Whether the kernel keeps the server from writing outside of its folders.
    Sandbox {
        /// As far as it can.
        Auto = "auto",
        /// Not at all.
        Off = "off",
        /// In full, or the server does not start.
        Require = "require",
    }
}

choice! {
    /// How log lines look.
    LogFormat {
        /// One readable line for each event.
        Text = "text",
        /// One JSON object for each event.
        Json = "json",
    }
}
