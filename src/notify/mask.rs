//! Takes secrets out of texts that people will read.
//!
//! Role: error texts of pipelines and of receivers' answers quote connection strings, headers and keys.
//! [`mask`] replaces what is known to be a secret by `***`, keeping the words around it. Guarantees: linear
//! in the text; masking twice changes nothing more. It does not find secrets without a sign (a bare
//! password in prose); for texts that may quote a secret of our own, [`Known`] replaces that one literally.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use url::Url;

/// Stands where a secret was.
pub const MASK: &str = "***";

/// What is masked: a pattern and what it becomes. Keep patterns anchored to a sign (a prefix, a key, a
/// scheme), so that ordinary words stay. Word boundaries are ASCII ones: Unicode's make matching three hundred
/// times slower on texts beyond ASCII.
const PATTERNS: &[(&str, &str)] = &[
    // Keys between armour.
    (
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----.*?(-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----|\z)",
        "***",
    ),
    // Webhook addresses: whoever knows one can post.
    (
        r"(?i)(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[^\s\x22'<>)\]]+",
        "$1***",
    ),
    (
        r"(?i)(discord(?:app)?\.com/api/(?:v\d+/)?webhooks/)[^\s\x22'<>)\]]+",
        "$1***",
    ),
    (r"(?i)(\.webhook\.office\.com/)[^\s\x22'<>)\]]+", "$1***"),
    (r"(?i)(api\.telegram\.org/bot)[^\s\x22'<>/]+", "$1***"),
    // User and password in URLs: postgres://user:password@host. The last @ before a space or slash ends it.
    (
        r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:/@\x22'<>]*):[^\s/\x22'<>]*@",
        "$1:***@",
    ),
    (
        r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s:/@\x22'<>]{16,}@",
        "$1***@",
    ),
    // Headers.
    (
        r"(?i)(?-u:\b)((?:proxy-)?authorization[\x22']?\s*[:=]\s*[\x22']?(?:bearer|basic|token|digest|apikey|negotiate)?\s*)[^\s\x22',;]{3,}",
        "$1***",
    ),
    (r"(?i)(?-u:\b)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}", "$1***"),
    (r"(?i)(?-u:\b)(basic\s+)[A-Za-z0-9+/]{12,}={0,2}", "$1***"),
    (
        r"(?i)(?-u:\b)((?:set-)?cookie[\x22']?\s*:\s*)[^\r\n\x22]+",
        "$1***",
    ),
    // Named values: password=…, "api_key": "…", AccountKey=…, X-Amz-Signature=…
    (
        r"(?i)((?:pass(?:word|wd|phrase)?|pwd|secret(?:[_-]?(?:access)?[_-]?key)?|(?:api|access|account|private|shared|storage|encryption|signing|master|service|auth|session|client|subscription)[_-]?(?:access[_-]?)?(?:key|token|secret)|sharedaccesssignature|x-amz-(?:signature|credential|security-token)|x-api-key)[\x22'\]]{0,2}\s*[=:]\s*)(?:(?:\x22[^\x22\r\n]*\x22?|'[^'\r\n]*'?)[^\s\x22',;&)}\]]*|[^\s\x22',;&)}\]]+)",
        "$1***",
    ),
    (
        r"(?i)(?-u:\b)((?:[a-z0-9]+[_-])*(?:token|credentials?|sig|signature|jwt)(?:\s*=\s*|[\x22']\s*[:=]\s*))(?:(?:\x22[^\x22\r\n]*\x22?|'[^'\r\n]*'?)[^\s\x22',;&)}\]]*|[^\s\x22',;&)}\]]+)",
        "$1***",
    ),
    (
        r"(?i)(?-u:\b)(token\s*:\s*)[A-Za-z0-9._~+/=-]{16,}",
        "$1***",
    ),
    // Keys that say by their form what they are.
    (
        r"(?-u:\b)(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)",
        "***",
    ),
    (r"(?-u:\b)gh[pousr]_[A-Za-z0-9]{20,}", "***"),
    (r"(?-u:\b)github_pat_[A-Za-z0-9_]{20,}", "***"),
    (
        r"(?-u:\b)gl(?:pat|dt|rt|ptt|agent|cbt|ft|soat)-[A-Za-z0-9_.-]{16,}",
        "***",
    ),
    (r"(?-u:\b)x(?:ox[a-z]|app)-[A-Za-z0-9-]{8,}", "***"),
    (r"(?-u:\b)AIza[A-Za-z0-9_-]{30,}", "***"),
    (r"(?-u:\b)ya29\.[A-Za-z0-9_.-]{16,}", "***"),
    (
        r"(?-u:\b)(?:sk|rk|pk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{20,}",
        "***",
    ),
    (r"(?-u:\b)SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", "***"),
    (
        r"(?-u:\b)(?:npm|hf|pul|dop_v1|shpat|dckr_pat|sbp|figd)_[A-Za-z0-9]{20,}",
        "***",
    ),
    (r"(?-u:\b)pypi-[A-Za-z0-9_-]{20,}", "***"),
    (r"(?-u:\b)dapi[0-9a-f]{32}(?:-\d)?(?-u:\b)", "***"),
    (r"(?-u:\b)glsa_[A-Za-z0-9_]{20,}", "***"),
    (r"(?-u:\b)hvs\.[A-Za-z0-9_-]{20,}", "***"),
    (r"(?-u:\b)AGE-SECRET-KEY-1[A-Z0-9]{20,}", "***"),
    (
        r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
        "***",
    ),
    (
        r"(?-u:\b)[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
        "***",
    ),
];

static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(PATTERNS.iter().map(|(pattern, _)| pattern))
        .expect("the patterns are constants that a test compiles")
});

static EACH: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let compile = |pattern: &str| {
        Regex::new(pattern).expect("the patterns are constants that a test compiles")
    };
    PATTERNS
        .iter()
        .map(|(pattern, _)| compile(pattern))
        .collect()
});

/// Replaces everything that looks like a secret by `***`.
pub fn mask(text: &str) -> String {
    let mut masked = Cow::Borrowed(text);
    for index in ANY.matches(text) {
        if let Cow::Owned(changed) = EACH[index].replace_all(&masked, PATTERNS[index].1) {
            masked = Cow::Owned(changed);
        }
    }
    masked.into_owned()
}

/// Secrets we hold ourselves, replaced literally wherever they are quoted.
#[derive(Clone, Default)]
pub struct Known(Vec<String>);

/// Shows how many, never which.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({} secrets)", self.0.len())
    }
}

impl Known {
    /// A literal secret; texts of fewer than four bytes are too common to replace.
    #[must_use]
    pub fn with(mut self, secret: &str) -> Self {
        if secret.len() >= 4 && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
        self
    }

    /// Every part of an address that could be a secret: all of it but the scheme, common words and the
    /// loopback host.
    pub fn of_url(url: &Url) -> Self {
        let mut known = Self::default().with(url.as_str());
        for part in [url.path(), url.query().unwrap_or_default(), url.username()]
            .into_iter()
            .chain(url.password())
        {
            known = known.with(part);
        }
        if let Some(host) = url.host_str().filter(|_| !super::http::is_loopback(url)) {
            known = known.with(host);
        }
        let segments = url.path_segments().into_iter().flatten();
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        for part in segments.map(str::to_owned).chain(values) {
            // Short parts are words like `api` or `services`.
            if part.len() >= 9 {
                known = known.with(&part);
            }
        }
        known
    }

    /// Replaces the known secrets, then everything that looks like one.
    pub fn mask(&self, text: &str) -> String {
        let text = self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.as_str()) {
                Cow::Owned(text.replace(secret.as_str(), MASK))
            } else {
                text
            }
        });
        mask(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &[(&str, &str)] = &[
        (
            "could not connect to postgres://etl:s3cr3t@db.internal:5432/prod?sslmode=require",
            "could not connect to postgres://etl:***@db.internal:5432/prod?sslmode=require",
        ),
        (
            "snowflake://u:p@ss:w@rd@acct/db",
            "snowflake://u:***@acct/db",
        ),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        (
            "https://ghx0123456789abcdefg@github.com/x",
            "https://***@github.com/x",
        ),
        (
            "host=db user=etl password=hunter2 dbname=x",
            "host=db user=etl password=*** dbname=x",
        ),
        (
            "Server=db;Uid=etl;Pwd=hunter2;Database=x",
            "Server=db;Uid=etl;Pwd=***;Database=x",
        ),
        (
            r#"{"api_key": "abc def", "x": 1}"#,
            r#"{"api_key": ***, "x": 1}"#,
        ),
        ("PASSWORD: 'two words' next", "PASSWORD: *** next"),
        (
            "Authorization: Bearer abc.def-123",
            "Authorization: Bearer ***",
        ),
        (
            "authorization=Basic dXNlcjpwYXNz",
            "authorization=Basic ***",
        ),
        (
            "sent bearer abcdefgh12345678 to it",
            "sent bearer *** to it",
        ),
        ("key AKIAIOSFODNN7EXAMPLE denied", "key *** denied"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = ***",
        ),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2Fx&X-Amz-Signature=abc123&x=1",
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=***&X-Amz-Signature=***&x=1",
        ),
        (
            "https://x.blob.core.windows.net/a?sv=1&sig=abc%3D",
            "https://x.blob.core.windows.net/a?sv=1&sig=***",
        ),
        (
            "AccountName=a;AccountKey=abc==;EndpointSuffix=x",
            "AccountName=a;AccountKey=***;EndpointSuffix=x",
        ),
        (
            "POST https://hooks.slack.com/services/T0/B0/XyZ failed",
            "POST https://hooks.slack.com/services/*** failed",
        ),
        (
            "https://discord.com/api/webhooks/123/abc_def?wait=true",
            "https://discord.com/api/webhooks/***",
        ),
        (
            "token ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "token ***",
        ),
        ("xoxb-123456789012-abcdefghijkl", "***"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "jwt ***"),
        ("dapi0123456789abcdef0123456789abcdef", "***"),
        ("Cookie: session=abc; other=def", "Cookie: ***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nend",
            "***\nend",
        ),
        ("-----BEGIN PRIVATE KEY-----\nabc cut", "***"),
        ("?access_token=abc&x=1", "?access_token=***&x=1"),
        // What must stay.
        (
            "syntax error: unexpected token: SELECT at line 3",
            "syntax error: unexpected token: SELECT at line 3",
        ),
        (
            "relation \"finance.orders\" does not exist",
            "relation \"finance.orders\" does not exist",
        ),
        (
            "https://app.dagctl.io/projects/p1/runs/r1",
            "https://app.dagctl.io/projects/p1/runs/r1",
        ),
        ("primary key: id", "primary key: id"),
        ("mail to a@b.example", "mail to a@b.example"),
        ("12 basic tests passed", "12 basic tests passed"),
    ];

    #[test]
    fn secrets_are_masked_and_words_stay() {
        for (text, masked) in CASES {
            assert_eq!(mask(text), *masked);
            assert_eq!(mask(masked), *masked, "twice");
        }
    }

    #[test]
    fn our_own_addresses_are_masked_wherever_quoted() {
        let url =
            Url::parse("https://u:pw12@chat.example/hooks/tokentoken1?key=abcdefghij").unwrap();
        let known = Known::of_url(&url);
        let text = format!(
            "Cannot POST {} ({url}), tokentoken1, abcdefghij, pw12",
            url.path()
        );
        let masked = known.mask(&text);
        for part in ["chat.example", "tokentoken1", "abcdefghij", "pw12"] {
            assert!(!masked.contains(part), "{masked}");
        }
        assert_eq!(
            format!("{known:?}"),
            format!("Known({} secrets)", known.0.len())
        );
    }

    proptest::proptest! {
        #[test]
        fn masking_is_idempotent(text in "[a-zA-Z0-9=:/@ \"'._-]{0,80}") {
            let once = mask(&format!("password={text}"));
            proptest::prop_assert_eq!(mask(&once), once);
        }
    }
}
