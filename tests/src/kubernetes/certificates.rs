//! Who is who for the API server: one authority, which signs for the server and for everybody who logs in.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = params("test-authority", None, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, key()).expect("an authority can sign itself"))
    }

    /// Its certificate, in PEM.
    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server of these names and addresses.
    pub(super) fn server(&self, name: &str, alternatives: &[&str]) -> Identity {
        let mut params = params(name, None, alternatives);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A user, whom Kubernetes knows by the common name, and the group that he is in, which is his organization.
    pub(super) fn user(&self, name: &str, group: Option<&str>) -> Identity {
        let mut params = params(name, group, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("an authority can sign").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// A new key for elliptic curves.
pub(super) fn key() -> KeyPair {
    KeyPair::generate().expect("keys can be made")
}

fn params(name: &str, organization: Option<&str>, alternatives: &[&str]) -> CertificateParams {
    let alternatives: Vec<String> = alternatives.iter().map(|&alternative| alternative.into()).collect();
    let mut params = CertificateParams::new(alternatives).expect("names and addresses");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params
}
