//! What is printed about an account, one shape for `--json` everywhere.

use layover_config::Settings;
use layover_depot::{
    Account, AccountUse, AllowedNetwork, AuthPolicy, AuthorizedCertificate, AuthorizedKey,
    ByteRate, CertificateUse, FolderPermission, KeyUse, PathTexts, Protocols, Rights, SessionLimit,
    SessionReuse,
};
use layover_retention::{Keep, RetentionPolicy, Timestamp};
use layover_server::session_reuse;
use serde::Serialize;

use crate::credentials::Credentials;
use crate::output::{Cell, Tone};
use crate::value::ByteSize;

/// An account as JSON.
#[derive(Debug, Serialize)]
pub(super) struct AccountView {
    pub(super) name: String,
    pub(super) entity: String,
    pub(super) home: String,
    pub(super) enabled: bool,
    pub(super) protocols: Protocols,
    pub(super) auth: AuthPolicy,
    /// The account's own keep; `null` when the entity or the appliance decides.
    pub(super) keep: Option<Keep>,
    pub(super) effective_keep: Keep,
    pub(super) effective_keep_source: &'static str,
    /// How long its files stay after they were first collected, if that is sooner.
    pub(super) collected_keep: Option<Keep>,
    pub(super) quota_bytes: Option<u64>,
    /// On all servers together; `null` where there is no limit.
    pub(super) max_sessions: Option<SessionLimit>,
    /// All its sessions on one server together; `null` where there is no limit.
    pub(super) upload_bytes_per_s: Option<ByteRate>,
    pub(super) download_bytes_per_s: Option<ByteRate>,
    pub(super) read_only: bool,
    pub(super) tolerant_completion: bool,
    pub(super) publish_on_rename: bool,
    /// The account's own rule; `null` when the appliance decides.
    pub(super) session_reuse: Option<SessionReuse>,
    pub(super) effective_session_reuse: SessionReuse,
    pub(super) has_password: bool,
    /// Whether a TLS certificate opens it, or one that a trusted authority signs.
    pub(super) opened_by_certificate: bool,
    pub(super) created_at: Timestamp,
    /// As far as the journal goes back.
    pub(super) last_login_at: Option<Timestamp>,
    /// What the home holds, as the quota counts it.
    pub(super) used_bytes: u64,
    pub(super) networks: Vec<NetworkView>,
    pub(super) keys: Vec<KeyView>,
    pub(super) certificates: Vec<CertificateView>,
    pub(super) permissions: Vec<PermissionView>,
}

impl AccountView {
    pub(super) fn new(
        account: &Account,
        policy: &RetentionPolicy,
        used: AccountUse,
        settings: &Settings,
    ) -> Self {
        Self {
            name: account.name.to_string(),
            entity: account.entity.to_string(),
            home: account.home.to_string(),
            enabled: account.enabled,
            protocols: account.protocols,
            auth: account.auth,
            keep: account.keep,
            effective_keep: policy.keep,
            effective_keep_source: policy.source.as_str(),
            collected_keep: account.collected_keep,
            quota_bytes: account.quota_bytes,
            max_sessions: account.limits.max_sessions,
            upload_bytes_per_s: account.limits.upload_rate,
            download_bytes_per_s: account.limits.download_rate,
            read_only: account.read_only,
            tolerant_completion: account.tolerant_completion,
            publish_on_rename: account.publish_on_rename,
            session_reuse: account.session_reuse,
            effective_session_reuse: account
                .session_reuse
                .unwrap_or_else(|| session_reuse(settings)),
            has_password: account.has_password,
            opened_by_certificate: Credentials::of(account).by_certificate(settings),
            created_at: account.created_at,
            last_login_at: used.last_login_at,
            used_bytes: used.used_bytes,
            networks: account.networks.iter().map(NetworkView::new).collect(),
            keys: account.keys.iter().map(KeyView::new).collect(),
            certificates: account
                .certificates
                .iter()
                .map(CertificateView::new)
                .collect(),
            permissions: account
                .permissions
                .iter()
                .map(PermissionView::new)
                .collect(),
        }
    }

    /// `3 keys, certificate, password`, or that there is nothing.
    pub(super) fn credentials(&self) -> Cell {
        let keys = match self.keys.iter().filter(|key| !key.cert_authority).count() {
            0 => None,
            1 => Some("1 key".to_owned()),
            more => Some(format!("{more} keys")),
        };
        let password = self.has_password.then(|| "password".to_owned());
        let certificate = self.opened_by_certificate.then(|| "certificate".to_owned());
        let all: Vec<_> = keys
            .into_iter()
            .chain(certificate)
            .chain(password)
            .collect();
        if all.is_empty() {
            Cell::toned("none: cannot log in", Tone::Alarm)
        } else {
            all.join(", ").into()
        }
    }

    /// The rule that counts, and whose it is.
    pub(super) fn reuse_text(&self) -> String {
        let source = match self.session_reuse {
            Some(_) => "account",
            None => "appliance",
        };
        format!("{} (set by the {source})", self.effective_session_reuse)
    }

    /// `1.0 MiB / 10.0 GiB`; a full quota stands out.
    pub(super) fn usage(&self) -> Cell {
        let used = ByteSize(self.used_bytes);
        match self.quota_bytes {
            None => format!("{used} / -").into(),
            Some(quota) => {
                let tone = if self.used_bytes >= quota {
                    Tone::Alarm
                } else {
                    Tone::Plain
                };
                Cell::toned(format!("{used} / {}", ByteSize(quota)), tone)
            }
        }
    }

    /// The networks on one line; `any` and "none" stand out.
    pub(super) fn network_cell(&self) -> Cell {
        if self.networks.is_empty() {
            return Cell::toned("none: cannot log in", Tone::Alarm);
        }
        let names: Vec<_> = self
            .networks
            .iter()
            .map(|network| network.network.as_str())
            .collect();
        let tone = if self.networks.iter().any(|network| network.any) {
            Tone::Alarm
        } else {
            Tone::Plain
        };
        Cell::toned(names.join(" "), tone)
    }
}

/// An allowed network as JSON.
#[derive(Debug, Serialize)]
pub(super) struct NetworkView {
    pub(super) network: String,
    /// Whether it is every address there is.
    pub(super) any: bool,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Timestamp>,
    pub(super) created_at: Timestamp,
}

impl NetworkView {
    pub(super) fn new(allowed: &AllowedNetwork) -> Self {
        Self {
            network: allowed.network.to_string(),
            any: allowed.network.is_any(),
            reason: allowed.reason.clone(),
            until: allowed.until,
            created_at: allowed.created_at,
        }
    }
}

/// An authorized key as JSON.
#[derive(Debug, Serialize)]
pub(super) struct KeyView {
    pub(super) fingerprint: String,
    pub(super) algorithm: String,
    pub(super) comment: String,
    pub(super) from: Vec<String>,
    /// Whether it signs certificates instead of opening the account itself.
    pub(super) cert_authority: bool,
    /// Names of which its certificates must carry one; none: the account's.
    pub(super) principals: Vec<String>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) added_at: Timestamp,
}

impl KeyView {
    pub(super) fn new(key: &AuthorizedKey) -> Self {
        let principals = match &key.used_for {
            KeyUse::Login => None,
            KeyUse::Authority { principals } => Some(principals.clone()),
        };
        Self {
            fingerprint: key.fingerprint.clone(),
            algorithm: key.algorithm.clone(),
            comment: key.comment.clone(),
            from: key.from.iter().map(ToString::to_string).collect(),
            cert_authority: principals.is_some(),
            principals: principals.unwrap_or_default(),
            expires_at: key.expires_at,
            added_at: key.added_at,
        }
    }
}

impl KeyView {
    /// What it is for, in one word.
    pub(super) fn used_for(&self) -> String {
        match (self.cert_authority, self.principals.is_empty()) {
            (false, _) => "login".to_owned(),
            (true, true) => "cert-authority".to_owned(),
            (true, false) => format!("cert-authority for {}", self.principals.join(",")),
        }
    }
}

/// A TLS client certificate as JSON.
#[derive(Debug, Serialize)]
pub(super) struct CertificateView {
    pub(super) fingerprint: String,
    pub(super) subject: String,
    /// Whether it signs certificates instead of opening the account itself.
    pub(super) authority: bool,
    /// Names of which its certificates must bear one.
    pub(super) names: Vec<String>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) added_at: Timestamp,
}

impl CertificateView {
    pub(super) fn new(certificate: &AuthorizedCertificate) -> Self {
        let names = match &certificate.used_for {
            CertificateUse::Login => None,
            CertificateUse::Authority { names } => Some(names.iter().map(str::to_owned).collect()),
        };
        Self {
            fingerprint: certificate.fingerprint.clone(),
            subject: certificate.subject.clone(),
            authority: names.is_some(),
            names: names.unwrap_or_default(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            added_at: certificate.added_at,
        }
    }

    /// What it is for, in a word.
    pub(super) fn used_for(&self) -> String {
        if self.authority {
            format!("authority for {}", self.names.join(","))
        } else {
            "login".to_owned()
        }
    }
}

/// A folder permission as JSON.
#[derive(Debug, Serialize)]
pub(super) struct PermissionView {
    #[serde(flatten)]
    pub(super) path: PathTexts,
    pub(super) rights: Rights,
}

impl PermissionView {
    pub(super) fn new(permission: &FolderPermission) -> Self {
        Self {
            path: PathTexts::from(&permission.path),
            rights: permission.rights,
        }
    }
}

/// What a changed keep did to what is stored.
pub(super) fn files_moved_text(files: u64) -> String {
    match files {
        0 => "no stored file has another expiry now".to_owned(),
        1 => "1 stored file has another expiry now".to_owned(),
        more => format!("{more} stored files have another expiry now"),
    }
}

/// `yes` or `no`.
pub(super) fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
