//! Inputs that are nearly right: what the mutator begins with. Texts and files here, messages of the wire in `message`.

mod message;

use crate::Random;
use crate::recovery::sample as files;

pub(crate) use message::{commands, edge, wire};

/// Pieces of lines, HEAD and LEDGER_ID.
pub(crate) const LINE_WORDS: &[&str] = &[
    "{\"seq\":1,\"batch\":1,\"left\":0,\"at\":\"2026-11-21T08:00:00.000Z\",\"event\":{}",
    ",\"crc\":\"00000000\"}",
    ",\"chain\":\"0000000000000000000000000000000000000000000000000000000000000000\"",
    "{\"segment_opened\":{\"ledger\":\"0190b5a4-3c00-7000-8000-000000000001\",\"format\":1,\"previous\":\"",
    "{\"segment_sealed\":{}}",
    "{\"ledger_repaired\":{\"lost_from\":3,\"reason\":\"\",\"by\":\"\"}}",
    "{\"booted\":{\"epoch\":1,\"version\":\"\",\"host\":\"\",\"pid\":1}}",
    "\"format\":2",
    "\"generation\":9",
];

/// Pieces of contracts in JSON.
pub(crate) const CONTRACT_WORDS: &[&str] = &[
    "{\"contract\":\"c\",\"version\":1,\"schema\":true,\"identity\":[{\"field\":\"k\"}]}",
    "\"limits\":{\"max_bytes\":65536,\"max_depth\":64},",
    "\"tolerance\":[{\"field\":\"err\",\"abs_lt\":1e-8}],",
    "\"abs_lt\":{\"payload\":\"eps\"}",
    "\"quantum\":1e-6",
    "\"complete\":{\"count\":{\"payload\":\"n\"}},",
    "{\"sub\":[{\"payload\":\"b\"},{\"payload\":\"a\"}]}",
    "\"$ref\":\"#\"",
    "\"$ref\":\"file:///etc/passwd\"",
    "\"$defs\":{\"a\":{\"$ref\":\"#/$defs/a\"}},",
    "\"pattern\":\"(a+)+$\",",
    "\"type\":\"integer\",\"minimum\":1",
    "\"field\":\"/a/b~1c\"",
];

/// Pieces of manifests.
pub(crate) const MANIFEST_WORDS: &[&str] = &[
    "queue: q\nkind: k\n",
    "---\n",
    "jobs:\n  queue: q\n  range: {from: 0, to: 99, step: 7, as: [a, b]}\n",
    "job: {queue: q, payload: {x: 1}}\n",
    "jobs:\n  - {queue: q, name: a}\n  - {queue: q, depends_on: [a]}\n",
    "retry: {max_attempts: 3, backoff: 10s, factor: 2.5}\n",
    "lease: {ttl: 60s, heartbeat: 5s}\n",
    "timeout: 1h\n",
    "not_before: 2026-11-21T09:00:00Z\n",
    "idempotency_key: k-1\n",
    "{\"queue\":\"q\",\"payload\":1}\n",
    "contract: c\nversion: 1\nschema: {}\nidentity: [{field: x, quantum: 1e-3}]\n",
    "step: 0",
    "to: 18446744073709551615",
    "to: -9223372036854775808",
    "&anchor",
    "*anchor",
    "<<: *anchor\n",
    "!!str ",
    "|\n  text\n",
    ">-\n",
];

/// Pieces of JSON, candidates and payloads.
pub(crate) const JSON_WORDS: &[&str] = &[
    "{\"n\":1,\"t\":14.134725141734694,\"root_val\":1e-12}",
    "{\"candidate\":{\"n\":1}}",
    "{\"progress\":0.5,\"note\":\"half\"}",
    "{\"done\":true}",
    "{\"ready\":true}",
    "{\"error\":\"no\",\"class\":\"permanent\"}",
    "{\"x\":0.4999999,\"y\":500,\"name\":{\"first\":\"a\"}}",
    "\"k\":",
    "1e308",
    "123456789012345678901234567890",
    "0.30000000000000004",
    "-0",
    "\"\\u0000\\ud83d\\ude00\"",
    "null",
    "[]",
];

/// Texts at the edges of what is allowed, and beyond.
fn text(random: &mut Random) -> String {
    match random.below(12) {
        0 => String::new(),
        1 => "\0".into(),
        2 => "a\u{202e}b\u{1f600}é\u{7f}\n\r\t\"\\".into(),
        3 => "x".repeat(random.below(3000)),
        4 => "ü".repeat(random.below(300)),
        5 => "\u{0}\u{1}\u{1f}".repeat(50),
        6 => "/../..".into(),
        7 => "\u{feff}".into(),
        8 if random.below(20) == 0 => "y".repeat(1 << 20),
        _ => "name".into(),
    }
}

/// Numbers at the edges of what is allowed, and beyond.
fn number(random: &mut Random) -> u64 {
    let edges = [0, 1, 2, 3, 1000, u64::from(u32::MAX), 1 << 53, i64::MAX as u64, 1 << 63, u64::MAX];
    match random.below(3) {
        0 => edges[random.below(edges.len())],
        1 => random.below(10) as u64,
        _ => random.next_u64() >> random.below(64),
    }
}

fn small(random: &mut Random) -> u32 {
    u32::try_from(number(random)).unwrap_or(u32::MAX)
}

fn time(random: &mut Random) -> i64 {
    let edges =
        [i64::MIN, -62_167_219_200_001, -1, 0, 1_795_248_000_000, 253_402_300_799_999, 253_402_300_800_000, i64::MAX];
    edges[random.below(edges.len())]
}

/// JSON that is deep, long, huge, odd or wrong.
fn json(random: &mut Random) -> String {
    match random.below(14) {
        0 => "null".into(),
        1 => {
            let deep = random.below(200);
            format!("{}{}", "[".repeat(deep), "]".repeat(deep))
        }
        2 => {
            let deep = random.below(120);
            format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep))
        }
        3 => format!("{{\"n\":{}}}", number(random)),
        4 => format!("[{},-{},1e{},-0.0,1E-400,0.1]", number(random), number(random), random.below(500)),
        5 => "{\"a\":1,\"a\":2}".into(),
        6 => "\"\\ud800\"".into(),
        7 => "{\"\\u0000\":\"\\u0000\",\"é\":\"\\ud83d\\ude00\"}".into(),
        8 => format!("{{\"text\":\"{}\"}}", "z".repeat(random.below(20_000))),
        9 => format!("[{}1]", "1,".repeat(random.below(5_000))),
        10 => " {\n \"a\" :\t1 }\r\n".into(),
        11 => text(random),
        _ => "{\"a\":-1,\"b\":6,\"eps\":0.5,\"n\":2}".into(),
    }
}

fn json_candidate(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => json(random).into_bytes(),
        1 => format!("{{\"k\":{}}}", json(random)).into_bytes(),
        2 => format!(
            "{{\"x\":{}.5e{},\"y\":{},\"name\":{{\"first\":\"a\"}}}}",
            random.below(1000),
            random.below(30),
            number(random)
        )
        .into_bytes(),
        3 => {
            let len = random.below(40);
            random.bytes(len)
        }
        _ => format!(
            "{{\"k\":{},\"n\":{},\"t\":{}.25,\"root_val\":0,\"err\":0}}",
            random.below(50),
            1 + random.below(9),
            random.below(90)
        )
        .into_bytes(),
    }
}

/// A line of a ledger.
pub(crate) fn line(random: &mut Random) -> Vec<u8> {
    let segments: Vec<&Vec<u8>> =
        files().iter().filter(|(name, _)| name.starts_with("ledger/")).map(|(_, bytes)| bytes).collect();
    let segment = segments[random.below(segments.len())];
    let lines: Vec<&[u8]> = segment.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    lines[random.below(lines.len())].to_vec()
}

/// A damaged file of a data directory: see [`crate::recovery()`].
pub(crate) fn recovery(random: &mut Random) -> Vec<u8> {
    let files = files();
    let file = random.below(files.len().min(64));
    let how = random.below(4);
    let mut input = vec![u8::try_from(file << 2 | how).unwrap_or(0)];
    match how {
        0 => input.extend_from_slice(&files[file].1),
        1 => input.extend(line(random)),
        2 => {
            let at = random.below(files[file].1.len() + 1);
            input.extend_from_slice(&u16::try_from(at).unwrap_or(0).to_be_bytes());
            input.extend_from_slice(&files[file].1[at..]);
        }
        _ => {
            let len = 3 * (1 + random.below(4));
            input.extend(random.bytes(len));
        }
    }
    input
}

/// A contract as JSON.
pub(crate) fn contract(random: &mut Random) -> Vec<u8> {
    let schema = [
        "true",
        "{}",
        "{\"type\":\"object\",\"required\":[\"k\"]}",
        "{\"properties\":{\"n\":{\"minimum\":1,\"type\":\"integer\"},\"t\":{\"type\":\"number\"}}}",
    ];
    let identity = [
        "[{\"field\":\"k\"}]",
        "[{\"field\":\"t\",\"quantum\":1e-6}]",
        "[{\"field\":\"/a/b\"},{\"field\":\"x\",\"quantum\":1000}]",
    ];
    let more = [
        "",
        ",\"tolerance\":[{\"field\":\"err\",\"abs_lt\":1e-8}]",
        ",\"complete\":{\"count\":{\"payload\":\"n\"}}",
        ",\"limits\":{\"max_bytes\":4096,\"max_depth\":4}",
    ];
    format!(
        "{{\"contract\":\"c\",\"version\":{},\"schema\":{},\"identity\":{}{}}}",
        1 + random.below(3),
        schema[random.below(schema.len())],
        identity[random.below(identity.len())],
        more[random.below(more.len())]
    )
    .into_bytes()
}

/// A manifest.
pub(crate) fn manifest(random: &mut Random) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..1 + random.below(6) {
        text.push_str(MANIFEST_WORDS[random.below(MANIFEST_WORDS.len())]);
        text.push_str(["", "---\n", "\n"][random.below(3)]);
    }
    text.into_bytes()
}

/// A contract's number and a candidate.
pub(crate) fn candidate(random: &mut Random) -> Vec<u8> {
    let mut input = random.bytes(1);
    input.extend(json_candidate(random));
    input
}

/// A runner's output.
pub(crate) fn runner(random: &mut Random) -> Vec<u8> {
    let mut input = random.bytes(1);
    for _ in 0..random.below(8) {
        input.extend_from_slice(JSON_WORDS[random.below(JSON_WORDS.len())].as_bytes());
        input.extend_from_slice([&b"\n"[..], b"\r\n", b""][random.below(3)]);
    }
    input
}
