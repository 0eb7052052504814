//! Where a bucket is, as people write it.
//!
//! `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` (the account comes from
//! the environment), `file:///FOLDER`, a plain path with a slash, `memory://`.
//! Invariants: no credentials in it, ever; an error never repeats what may be one.

use std::{fmt, path::PathBuf, str::FromStr};

/// A bucket and the prefix of one cluster in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketUrl {
    /// S3 or a store that speaks it.
    S3(Place),
    /// Google Cloud Storage.
    Gcs(Place),
    /// Azure Blob Storage; the bucket is a container.
    Azure(Place),
    /// A folder of this machine, or of a file system that has locks and hard links.
    Folder(PathBuf),
    /// Memory of this process.
    Memory,
}

/// A bucket by name and a prefix in it, without slashes around; maybe empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bucket's name.
    pub bucket: String,
    /// Folder of the cluster in it.
    pub prefix: String,
}

/// Why a bucket URL cannot be read, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

const FORMS: &str = "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
    file:///FOLDER, a path with a slash (./FOLDER), or memory://";

impl FromStr for BucketUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = text.split_once("://") else { return folder_path(text) };
        match scheme {
            "s3" => Ok(Self::S3(place(scheme, rest)?)),
            "gs" => Ok(Self::Gcs(place(scheme, rest)?)),
            "az" => Ok(Self::Azure(place(scheme, rest)?)),
            "file" if rest.starts_with('/') => Ok(Self::Folder(PathBuf::from(rest))),
            "file" => fail("a file URL has three slashes and a whole path: file:///FOLDER"),
            "memory" if matches!(rest, "" | "/") => Ok(Self::Memory),
            "memory" => fail("memory:// takes no name: it lives and dies with the process"),
            "http" | "https" => fail(format!(
                "an S3 endpoint is not a bucket: {FORMS}; give the endpoint as --s3-endpoint"
            )),
            _ => fail(format!("this kind of bucket is not known: {FORMS}")),
        }
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(place) => write!(f, "s3://{place}"),
            Self::Gcs(place) => write!(f, "gs://{place}"),
            Self::Azure(place) => write!(f, "az://{place}"),
            // A file URL has no relative form.
            Self::Folder(path) if path.is_relative() => write!(f, "{}", path.display()),
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::Memory => f.write_str("memory://"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn folder_path(text: &str) -> Result<BucketUrl, UrlError> {
    let a_path = text.starts_with(['/', '.']) || text.contains('/');
    if a_path && !text.contains(':') {
        return Ok(BucketUrl::Folder(PathBuf::from(text)));
    }
    fail(format!("this is neither a URL nor a path: {FORMS}"))
}

fn place(scheme: &str, rest: &str) -> Result<Place, UrlError> {
    if rest.contains('@') || rest.contains('?') || rest.contains('#') {
        return fail(format!(
            "a bucket URL carries no credentials and no options: write {scheme}://BUCKET/PREFIX, \
             and give credentials through the environment or a profile"
        ));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return fail(format!("the bucket's name is missing: write {scheme}://BUCKET/PREFIX"));
    }
    if bucket.len() > 255 || !bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    {
        return fail("a bucket's name is made of letters, digits, dots, dashes and underscores");
    }
    let prefix = prefix.trim_matches('/');
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._=".contains(c))
    };
    if !prefix.is_empty() && (prefix.len() > 512 || !prefix.split('/').all(plain)) {
        return fail("a prefix is made of letters, digits, -, ., _ and = between single slashes");
    }
    Ok(Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn fail<T>(text: impl Into<String>) -> Result<T, UrlError> {
    Err(UrlError(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BucketUrl, String> {
        text.parse().map_err(|error: UrlError| error.to_string())
    }

    #[test]
    fn each_form_is_read_and_written_back() {
        let folders = ["file:///tmp/x", "./data", "data/bucket"];
        let others = ["s3://b", "s3://b-1/a/b", "gs://b/p", "az://c/p", "memory://"];
        for text in folders.into_iter().chain(others) {
            assert_eq!(read(text).map(|url| url.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(read("s3://b/p/").map(|url| url.to_string()), Ok("s3://b/p".to_owned()));
        assert_eq!(read("./data"), Ok(BucketUrl::Folder("./data".into())));
        assert_eq!(read("/data"), Ok(BucketUrl::Folder("/data".into())));
        assert_eq!(read("data/bucket"), Ok(BucketUrl::Folder("data/bucket".into())));
    }

    #[test]
    fn an_error_says_what_to_write() {
        for (text, say) in [
            ("", "s3://BUCKET/PREFIX"),
            ("bucket", "neither a URL nor a path"),
            ("s3:bucket", "neither a URL nor a path"),
            ("s3:/bucket/x", "neither a URL nor a path"),
            ("s3://", "name is missing"),
            ("s3:///prefix", "name is missing"),
            ("s3://b/a//p", "single slashes"),
            ("s3://b/../c", "single slashes"),
            ("s3://b ucket", "letters"),
            ("http://127.0.0.1:9000/b", "--s3-endpoint"),
            ("ftp://x", "not known"),
            ("file://host", "three slashes"),
            ("memory://x", "no name"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(say), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for text in ["s3://key:CANARY@bucket/p", "az://c/p?sig=CANARY", "CANARY://x", "CANARY"] {
            let error = read(text).expect_err(text);
            assert!(!error.contains("CANARY"), "{error}");
        }
    }
}
