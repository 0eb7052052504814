//! A small S3 server with exact conditional writes that misbehaves on order.
//!
//! It speaks to the real client stack over a real socket, so that what a doubtful answer turns
//! into is tested where it happens. Path-style PUT, GET, HEAD, DELETE and ListObjectsV2 of one
//! bucket; no signatures, no multipart. Objects live in memory.

// Each test binary uses its own part of it.
#![allow(dead_code)]

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The one bucket there is.
pub(crate) const BUCKET: &str = "double";

/// One way to misbehave. "After" means the request was carried out first.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Carried out, then answered with this status and code.
    AnswerAfter(u16, &'static str),
    /// Carried out, then the connection ends without an answer.
    FinAfter,
    /// Carried out, then the connection is reset.
    RstAfter,
    /// Carried out, then half a status line.
    HalfStatusAfter,
    /// Carried out, then silence.
    HangAfter,
    /// Answered with this status and code; nothing is carried out.
    Answer(u16, &'static str),
    /// The connection ends; nothing is carried out.
    Fin,
    /// Silence; nothing is carried out.
    Hang,
    /// Something that is not HTTP; nothing is carried out.
    Garbage,
    /// Silence, and carried out after this time.
    Late(Duration),
    /// Carried out twice, as by a gateway that repeats; the second answer is sent.
    Repeated,
    /// Carried out and answered, after this time.
    Slow(Duration),
    /// A GET's body breaks off half way.
    HalfBody,
    /// A GET's range is ignored.
    WholeBody,
}

/// The server; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct S3Double {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: BTreeMap<String, Object>,
    orders: VecDeque<Order>,
    always: Option<(u16, &'static str)>,
    requests: Vec<String>,
    ranges: Vec<(String, std::ops::Range<u64>)>,
    writes: u64,
    clock_behind: Duration,
    storm: Option<Storm>,
    struck: u64,
}

/// Faults by chance, as many as a bad day has.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    /// Of a thousand requests so many are struck.
    pub(crate) of_thousand: u64,
    /// By one of these, whatever the request is.
    pub(crate) faults: Vec<Fault>,
    /// The state of its chance.
    pub(crate) seed: u64,
}

impl Storm {
    fn draw(&mut self, limit: u64) -> u64 {
        // splitmix64: the same seed gives the same storm.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn strike(&mut self, request: &Request) -> Option<Fault> {
        if self.draw(1000) >= self.of_thousand {
            return None;
        }
        let count = self.faults.len().try_into().unwrap();
        let at: usize = self.draw(count).try_into().unwrap();
        let fault = self.faults.get(at)?.clone();
        let only_get = matches!(fault, Fault::HalfBody | Fault::WholeBody);
        let only_put = matches!(fault, Fault::Repeated | Fault::Late(_));
        let fits = (!only_get || request.method == "GET") && (!only_put || request.method == "PUT");
        fits.then_some(fault)
    }
}

#[derive(Debug)]
struct Order {
    method: &'static str,
    part: &'static str,
    fault: Fault,
}

#[derive(Clone, Debug)]
struct Object {
    body: Bytes,
    etag: String,
    written: SystemTime,
}

#[derive(Debug)]
struct Request {
    method: String,
    /// Without bucket and query.
    key: String,
    bucket: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl S3Double {
    /// Starts a server on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let serving = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                // A broken connection is the client's to notice.
                tokio::spawn(async move { serve(stream, &shared).await.ok() });
            }
        });
        Self { address, shared, server }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Orders a fault for the next request of `method` whose key contains `part`.
    pub(crate) fn next(&self, method: &'static str, part: &'static str, fault: Fault) {
        self.lock().orders.push_back(Order { method, part, fault });
    }

    /// Answers everything with this status and code and carries nothing out, until told `None`.
    pub(crate) fn always(&self, answer: Option<(u16, &'static str)>) {
        self.lock().always = answer;
    }

    /// Strikes requests by chance, until told `None`.
    pub(crate) fn storm(&self, storm: Option<Storm>) {
        self.lock().storm = storm;
    }

    /// How many requests were struck by a storm.
    pub(crate) fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// Writes every object into a folder, by its key.
    pub(crate) fn save(&self, folder: &std::path::Path) {
        let objects = self.lock().objects.clone();
        for (key, object) in objects {
            let file = folder.join(key);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, object.body).unwrap();
        }
    }

    /// Forgets faults that have not struck.
    pub(crate) fn calm(&self) {
        self.lock().orders.clear();
    }

    /// The object under a full key.
    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        self.lock().objects.get(key).map(|object| object.body.clone())
    }

    /// `METHOD key` of each request so far that began with `method`.
    pub(crate) fn requests(&self, method: &str) -> Vec<String> {
        let begins = |line: &&String| line.starts_with(method);
        self.lock().requests.iter().filter(begins).cloned().collect()
    }

    /// Key and range of each ranged GET so far.
    pub(crate) fn ranges(&self) -> Vec<(String, std::ops::Range<u64>)> {
        self.lock().ranges.clone()
    }

    /// Lets the server's clock lag.
    pub(crate) fn set_clock_behind(&self, by: Duration) {
        self.lock().clock_behind = by;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for S3Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    let mut read = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut read).await? {
        let fault = shared.lock().unwrap().note(&request);
        let act = || shared.lock().unwrap().act(&request);
        match fault {
            None => send(&mut stream, &request, act()).await?,
            Some(Fault::AnswerAfter(status, code)) => {
                act();
                send(&mut stream, &request, error(status, code)).await?;
            }
            Some(Fault::FinAfter) => {
                act();
                return stream.shutdown().await;
            }
            Some(Fault::RstAfter) => {
                act();
                return stream.set_zero_linger();
            }
            Some(Fault::HalfStatusAfter) => {
                act();
                return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await;
            }
            Some(Fault::HangAfter) => {
                act();
                std::future::pending::<()>().await;
            }
            Some(Fault::Answer(status, code)) => {
                send(&mut stream, &request, error(status, code)).await?;
            }
            Some(Fault::Fin) => return stream.shutdown().await,
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::Garbage) => return stream.write_all(b"220 mail.example ESMTP\r\n").await,
            Some(Fault::Late(time)) => {
                tokio::time::sleep(time).await;
                act();
                std::future::pending::<()>().await;
            }
            Some(Fault::Repeated) => {
                act();
                send(&mut stream, &request, act()).await?;
            }
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                send(&mut stream, &request, act()).await?;
            }
            Some(Fault::HalfBody) => {
                let reply = act();
                let half = reply.body.slice(..reply.body.len() / 2);
                let length = reply.body.len();
                stream.write_all(head(&reply, length).as_bytes()).await?;
                stream.write_all(&half).await?;
                return stream.shutdown().await;
            }
            Some(Fault::WholeBody) => {
                let mut whole = request;
                whole.headers.remove("range");
                let reply = shared.lock().unwrap().act(&whole);
                send(&mut stream, &whole, reply).await?;
            }
        }
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while read.len() < end + 4 + length {
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
    let body = Bytes::copy_from_slice(&read[end + 4..end + 4 + length]);
    read.drain(..end + 4 + length);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    Ok(Some(Request { method, key, bucket, query: query.to_owned(), headers, body }))
}

async fn send(stream: &mut TcpStream, request: &Request, reply: Reply) -> io::Result<()> {
    stream.write_all(head(&reply, reply.body.len()).as_bytes()).await?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body).await?;
    }
    Ok(())
}

fn head(reply: &Reply, length: usize) -> String {
    let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {length}\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head + "\r\n"
}

fn error(status: u16, code: &str) -> Reply {
    // Real servers quote what was signed; no word of it may show up anywhere.
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>ordered</Message>\
         <StringToSign>S3CRET-CANARY</StringToSign></Error>"
    );
    let body = if matches!(status, 304 | 412) || code.is_empty() { String::new() } else { body };
    Reply { status, headers: Vec::new(), body: Bytes::from(body) }
}

impl Shared {
    fn note(&mut self, request: &Request) -> Option<Fault> {
        self.requests.push(format!("{} {}", request.method, request.key));
        let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        if let Some((first, last)) = range.and_then(|range| range.split_once('-'))
            && let (Ok(first), Ok(last)) = (first.parse(), last.parse::<u64>())
        {
            self.ranges.push((request.key.clone(), first..last + 1));
        }
        if let Some((status, code)) = self.always {
            return Some(Fault::Answer(status, code));
        }
        let strikes =
            |order: &Order| order.method == request.method && request.key.contains(order.part);
        if let Some(at) = self.orders.iter().position(strikes) {
            return self.orders.remove(at).map(|order| order.fault);
        }
        let fault = self.storm.as_mut()?.strike(request)?;
        self.struck += 1;
        Some(fault)
    }

    fn act(&mut self, request: &Request) -> Reply {
        if request.bucket != BUCKET {
            return error(404, "NoSuchBucket");
        }
        let found = self.objects.get(&request.key).cloned();
        match (request.method.as_str(), found) {
            ("PUT", found) => self.put(request, found.as_ref()),
            ("GET", _) if request.key.is_empty() => self.list(&request.query),
            ("GET" | "HEAD", Some(object)) => self.get(request, &object),
            ("GET" | "HEAD", None) => error(404, "NoSuchKey"),
            ("DELETE", _) => {
                self.objects.remove(&request.key);
                Reply { status: 204, headers: Vec::new(), body: Bytes::new() }
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }

    fn put(&mut self, request: &Request, found: Option<&Object>) -> Reply {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        if header("if-none-match") == Some("*") && found.is_some() {
            return error(412, "PreconditionFailed");
        }
        match (header("if-match"), found) {
            (Some(_), None) => return error(404, "NoSuchKey"),
            (Some(etag), Some(object)) if object.etag != etag => {
                return error(412, "PreconditionFailed");
            }
            _ => {}
        }
        self.writes += 1;
        let etag = format!("\"{:032x}\"", self.writes);
        let written = SystemTime::now();
        let object = Object { body: request.body.clone(), etag: etag.clone(), written };
        self.objects.insert(request.key.clone(), object);
        Reply { status: 200, headers: vec![("ETag", etag)], body: Bytes::new() }
    }

    fn get(&self, request: &Request, object: &Object) -> Reply {
        if request.headers.get("if-none-match") == Some(&object.etag) {
            return error(304, "");
        }
        let length = object.body.len();
        let written = http_date(object.written - self.clock_behind);
        let mut headers = vec![("ETag", object.etag.clone()), ("Last-Modified", written)];
        let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
            return Reply { status: 200, headers, body: object.body.clone() };
        };
        let first: usize = first.parse().unwrap();
        if first >= length {
            return error(416, "InvalidRange");
        }
        let end = last.parse().map_or(length, |last: usize| (last + 1).min(length));
        headers.push(("Content-Range", format!("bytes {first}-{}/{length}", end - 1)));
        Reply { status: 206, headers, body: object.body.slice(first..end) }
    }

    fn list(&self, query: &str) -> Reply {
        let value = |wanted: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.replace("%2F", "/"))
        };
        let prefix = value("prefix").unwrap_or_default();
        let after = value("continuation-token").or(value("start-after")).unwrap_or_default();
        let wanted = |key: &&String| key.starts_with(&prefix) && **key > after;
        let mut keys: Vec<&String> = self.objects.keys().filter(wanted).take(1001).collect();
        let truncated = keys.len() > 1000;
        keys.truncate(1000);
        let mut xml = format!("<ListBucketResult><IsTruncated>{truncated}</IsTruncated>");
        if truncated {
            write!(xml, "<NextContinuationToken>{}</NextContinuationToken>", keys[999]).unwrap();
        }
        for key in keys {
            let object = &self.objects[key];
            write!(
                xml,
                "<Contents><Key>{key}</Key><LastModified>{}</LastModified>\
                 <ETag>x</ETag><Size>{}</Size></Contents>",
                humantime::format_rfc3339_millis(object.written),
                object.body.len()
            )
            .unwrap();
        }
        xml.push_str("</ListBucketResult>");
        Reply { status: 200, headers: Vec::new(), body: Bytes::from(xml) }
    }
}

/// The form of dates in HTTP headers; days since 1970 into a date as Hinnant does it.
fn http_date(time: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let name = |names: &[&'static str], at: u64| names[usize::try_from(at).unwrap()];
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
