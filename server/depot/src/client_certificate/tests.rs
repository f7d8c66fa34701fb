//! Certificates of authorities that live as long as the test.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::*;

const NOW: &str = "2026-11-21T04:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What may differ from a plain certificate, valid in all of 2026.
struct Plan {
    common_names: Vec<&'static str>,
    sans: Vec<SanType>,
    purposes: Vec<ExtendedKeyUsagePurpose>,
    usages: Vec<KeyUsagePurpose>,
    is_ca: bool,
    years: (i32, i32),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            common_names: vec!["partner"],
            sans: Vec::new(),
            purposes: Vec::new(),
            usages: Vec::new(),
            is_ca: false,
            years: (2026, 2027),
        }
    }
}

impl Plan {
    fn params(self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // rcgen takes one of each type, so the second is written as a type of its own.
        let types = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        for (name, kind) in self.common_names.into_iter().zip(types) {
            params.distinguished_name.push(kind, name);
        }
        params.subject_alt_names = self.sans;
        params.extended_key_usages = self.purposes;
        params.key_usages = self.usages;
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.not_before = date_time_ymd(self.years.0, 1, 1);
        params.not_after = date_time_ymd(self.years.1, 1, 1);
        params
    }

    fn self_signed(self) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        self.params().self_signed(&key).unwrap().der().to_vec()
    }
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Ca {
    fn new(name: &'static str, years: (i32, i32)) -> Self {
        let plan = Plan {
            common_names: vec![name],
            is_ca: true,
            years,
            ..Plan::default()
        };
        let (params, key) = (plan.params(), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);
        Self { issuer, der }
    }

    fn below(name: &'static str, parent: &Self) -> Self {
        let plan = Plan {
            common_names: vec![name],
            is_ca: true,
            ..Plan::default()
        };
        let (params, key) = (plan.params(), KeyPair::generate().unwrap());
        let signed = params.signed_by(&key, &parent.issuer).unwrap();
        let der = signed.der().to_vec();
        let issuer = Issuer::new(params, key);
        Self { issuer, der }
    }

    fn issue(&self, plan: Plan) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let signed = plan.params().signed_by(&key, &self.issuer).unwrap();
        signed.der().to_vec()
    }

    fn trusted_for(&self, names: &str) -> AuthorizedCertificate {
        let names = names.parse().unwrap();
        authorized(&self.der, CertificateUse::Authority { names })
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn read(der: &[u8], used_for: CertificateUse) -> Result<NewCertificate, CertificateError> {
    NewCertificate::from_pem(pem(der).as_bytes(), used_for, at("2020-06-01T00:00:00Z"))
}

fn authorized(der: &[u8], used_for: CertificateUse) -> AuthorizedCertificate {
    let new = read(der, used_for).unwrap();
    AuthorizedCertificate {
        fingerprint: new.fingerprint,
        subject: new.subject,
        der: new.der,
        not_before: new.not_before,
        not_after: new.not_after,
        used_for: new.used_for,
        added_at: at(NOW),
    }
}

fn presented(chain: &[&[u8]]) -> PresentedCertificate {
    let chain: Vec<_> = chain
        .iter()
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    PresentedCertificate::proven(&chain).unwrap()
}

fn opens(der: &[u8], certificates: &[AuthorizedCertificate]) -> Result<Option<String>, String> {
    presented(&[der])
        .opens(certificates, at(NOW))
        .map_err(|fault| fault.to_string())
}

#[test]
fn a_pinned_certificate_opens_within_its_time_and_no_other_does() {
    let (mine, other) = (Plan::default().self_signed(), Plan::default().self_signed());
    let pinned = [authorized(&mine, CertificateUse::Login)];
    assert_eq!(opens(&mine, &pinned), Ok(None));
    assert_eq!(
        opens(&other, &pinned).unwrap_err(),
        "certificate not known",
        "the same name, another key"
    );
    assert!(opens(&mine, &[]).is_err());
    let peer = presented(&[&mine]);
    for (now, expected) in [
        (
            "2025-12-31T23:59:59Z",
            Err(ClientCertificateFault::NotYetValid),
        ),
        ("2026-01-01T00:00:00Z", Ok(None)),
        ("2027-01-01T00:00:00Z", Ok(None)),
        ("2027-01-01T00:00:01Z", Err(ClientCertificateFault::Expired)),
    ] {
        assert_eq!(peer.opens(&pinned, at(now)), expected, "{now}");
    }
}

#[test]
fn an_authority_opens_for_exactly_the_names_that_were_given() {
    let ca = Ca::new("partners", (2020, 2030));
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let mail = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let by_name = |common_names: Vec<&'static str>, sans| {
        ca.issue(Plan {
            common_names,
            sans,
            ..Plan::default()
        })
    };
    let fingerprint = authorized(&ca.der, CertificateUse::Login).fingerprint;
    for (certificate, names, comes_in) in [
        (by_name(vec!["partner"], vec![]), "partner", true),
        (by_name(vec!["partner"], vec![]), "other,partner", true),
        (by_name(vec!["partner"], vec![]), "Partner", false),
        (by_name(vec!["partner"], vec![]), "part", false),
        (
            by_name(vec!["a"], vec![dns("ftp.acme.example")]),
            "FTP.acme.example",
            true,
        ),
        (
            by_name(vec!["a"], vec![dns("*.acme.example")]),
            "ftp.acme.example",
            false,
        ),
        (
            by_name(vec!["a"], vec![mail("it@acme.example")]),
            "it@ACME.example",
            true,
        ),
        (
            by_name(vec!["a"], vec![mail("IT@acme.example")]),
            "it@acme.example",
            false,
        ),
        (
            by_name(vec!["a"], vec![mail("it@acme.example")]),
            "acme.example",
            false,
        ),
        (
            by_name(vec![], vec![dns("ftp.acme.example")]),
            "ftp.acme.example",
            true,
        ),
    ] {
        let expected = if comes_in {
            Ok(Some(fingerprint.clone()))
        } else {
            Err("certificate bears another name".to_owned())
        };
        assert_eq!(
            opens(&certificate, &[ca.trusted_for(names)]),
            expected,
            "{names}"
        );
    }
}

#[test]
fn an_authority_vouches_only_for_what_it_signed_for_clients_and_in_its_time() {
    let ca = Ca::new("partners", (2020, 2030));
    let trusted = [ca.trusted_for("partner")];
    let refused = |certificate: &[u8]| opens(certificate, &trusted).unwrap_err();
    assert_eq!(
        refused(&Plan::default().self_signed()),
        "certificate not known"
    );
    // Another authority of the same name.
    let imposter = Ca::new("partners", (2020, 2030));
    let forged = refused(&imposter.issue(Plan::default()));
    assert!(
        forged.starts_with("certificate not properly issued"),
        "{forged}"
    );
    for (purposes, comes_in) in [
        (vec![ExtendedKeyUsagePurpose::ClientAuth], true),
        (vec![ExtendedKeyUsagePurpose::ServerAuth], false),
        (
            vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            true,
        ),
    ] {
        let certificate = ca.issue(Plan {
            purposes,
            ..Plan::default()
        });
        match opens(&certificate, &trusted) {
            Ok(_) => assert!(comes_in),
            Err(reason) => assert_eq!(
                (comes_in, &*reason),
                (false, "certificate is not for clients")
            ),
        }
    }
    for (years, reason) in [
        ((2024, 2026), "certificate expired"),
        ((2027, 2028), "certificate not yet valid"),
    ] {
        let certificate = ca.issue(Plan {
            years,
            ..Plan::default()
        });
        assert_eq!(refused(&certificate), reason);
    }
    let over = Ca::new("over", (2020, 2026));
    assert_eq!(
        opens(&over.issue(Plan::default()), &[over.trusted_for("partner")]).unwrap_err(),
        "certificate of an authority whose own certificate has expired"
    );
    let ahead = Ca::new("ahead", (2027, 2030));
    assert_eq!(
        opens(
            &ahead.issue(Plan::default()),
            &[ahead.trusted_for("partner")]
        )
        .unwrap_err(),
        "certificate of an authority whose own certificate is not yet valid"
    );
}

#[test]
fn an_intermediate_must_be_sent_along() {
    let root = Ca::new("root", (2020, 2030));
    let below = Ca::below("below", &root);
    let certificate = below.issue(Plan::default());
    let trusted = [root.trusted_for("partner")];
    assert!(opens(&certificate, &trusted).is_err());
    let with = presented(&[&certificate, &below.der]);
    assert!(with.opens(&trusted, at(NOW)).is_ok());
}

#[test]
fn two_common_names_are_none() {
    let ca = Ca::new("partners", (2020, 2030));
    let certificate = ca.issue(Plan {
        common_names: vec!["partner", "other"],
        ..Plan::default()
    });
    let subject = presented(&[&certificate]).subject();
    assert_eq!(subject.matches("CN=").count(), 2, "{subject}");
    for name in ["partner", "other"] {
        assert_eq!(
            opens(&certificate, &[ca.trusted_for(name)]).unwrap_err(),
            "certificate bears another name"
        );
    }
}

#[test]
fn what_could_open_nothing_is_refused_when_it_is_given() {
    let now = at(NOW);
    let given = |text: &str| NewCertificate::from_pem(text.as_bytes(), CertificateUse::Login, now);
    let plain = Plan::default().self_signed();
    let taken = given(&pem(&plain)).unwrap();
    assert_eq!(taken.fingerprint.len(), 64);
    assert_eq!(taken.subject, "CN=partner");
    assert_eq!(given(""), Err(CertificateError::NotPem));
    assert_eq!(
        NewCertificate::from_pem(&plain, CertificateUse::Login, now),
        Err(CertificateError::Der)
    );
    assert_eq!(
        given("ssh-ed25519 AAAA partner"),
        Err(CertificateError::NotPem)
    );
    assert_eq!(
        given(&pem(b"no certificate")),
        Err(CertificateError::Malformed)
    );
    assert_eq!(
        given(&pem(&plain).repeat(2)),
        Err(CertificateError::NotOne { count: 2 })
    );
    assert_eq!(
        given(&pem(&vec![0; MAX_CERTIFICATE_BYTES + 1])),
        Err(CertificateError::TooLong)
    );
    assert_eq!(
        given(&pem(&vec![0; MAX_CERTIFICATE_BYTES])),
        Err(CertificateError::Malformed)
    );
    let of = |plan: Plan| given(&pem(&plan.self_signed())).map(|_| ());
    assert_eq!(
        of(Plan {
            years: (2024, 2026),
            ..Plan::default()
        }),
        Err(CertificateError::Expired {
            not_after: at("2026-01-01T00:00:00Z")
        })
    );
    assert_eq!(
        of(Plan {
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..Plan::default()
        }),
        Err(CertificateError::NotForClients)
    );
    assert_eq!(
        of(Plan {
            usages: vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            is_ca: true,
            ..Plan::default()
        }),
        Err(CertificateError::OnlyAuthority)
    );
    // As `openssl req -x509` makes them: it may sign others, and log in.
    assert_eq!(
        of(Plan {
            is_ca: true,
            ..Plan::default()
        }),
        Ok(())
    );
    // Whoever prepares gives it before its time.
    assert_eq!(
        of(Plan {
            years: (2027, 2028),
            ..Plan::default()
        }),
        Ok(())
    );
    let names = "partner".parse().unwrap();
    assert_eq!(
        read(&plain, CertificateUse::Authority { names }),
        Err(CertificateError::NotAuthority)
    );
}

#[test]
fn names_are_few_short_and_none_is_read_as_two() {
    let names = |text: &str| text.parse::<CertificateNames>();
    let two = names("a, b@c.example").unwrap();
    assert_eq!(two.iter().collect::<Vec<_>>(), ["a", "b@c.example"]);
    assert_eq!(names(&two.to_string()), Ok(two));
    for bad in ["", ",", "a,", "a\nb"] {
        assert!(names(bad).is_err(), "{bad:?}");
    }
    assert!(names(&"x".repeat(MAX_NAME_BYTES)).is_ok());
    assert!(names(&"x".repeat(MAX_NAME_BYTES + 1)).is_err());
    let many = |count| vec!["x"; count].join(",");
    assert!(names(&many(MAX_CERTIFICATE_NAMES)).is_ok());
    assert!(names(&many(MAX_CERTIFICATE_NAMES + 1)).is_err());
}

#[test]
fn a_fingerprint_is_known_as_openssl_prints_it() {
    assert_eq!(normalised_fingerprint(" AB:0c:EF "), "ab0cef");
}
