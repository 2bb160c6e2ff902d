//! Words with metadata services, in a network namespace of the test's own.

use super::*;

/// Never to be seen anywhere but in the packets.
const CANARY: &str = "gtCanaryHushHushHush";
const HANDED_OUT: &str = "ASIAEXAMPLE000000001";

/// The services of a namespace of the test's own, each on its own address.
const SERVICES: [IpAddr; 4] = [
    IpAddr::V4(METADATA_SERVICE),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Answers every request on a connection until its client is done.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
                let body = format!(
                    "{{\n  \"Code\" : \"Success\",\n  \"AccessKeyId\" : \"{HANDED_OUT}\",\n  \"SecretAccessKey\" : \
                     \"{CANARY}\",\n  \"Token\" : \"{CANARY}{}\"\n}}",
                    "T".repeat(2000)
                );
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
}

/// One request of these pieces, each in a segment of its own, and its answer to the end.
fn ask(stream: &mut TcpStream, pieces: &[&str]) {
    for piece in pieces {
        stream.write_all(piece.as_bytes()).unwrap();
        if pieces.len() > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        len = line.trim().strip_prefix("Content-Length: ").map_or(len, |len| len.parse().unwrap());
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; len]).unwrap();
}

pub(super) fn exchange_with_services() {
    for address in SERVICES.into_iter().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]) {
        let listener = TcpListener::bind((address, 80)).unwrap();
        std::thread::spawn(move || serve(&listener));
    }
    let connect = |address: IpAddr| {
        let stream = TcpStream::connect(SocketAddr::new(address, 80)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    let [imds, ecs, eks, imds6] = SERVICES;
    let mut stream = connect(imds);
    ask(&mut stream, &["GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"]);
    ask(&mut stream, &["PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"]);
    let token = format!("data-token: {CANARY}\r\n");
    ask(&mut stream, &["GET /latest/meta-d", "ata/iam HTTP/1.1\r\nX-aws-ec2-meta", &token, "\r", "\n"]);
    ask(&mut connect(imds6), &["GET /six HTTP/1.1\r\n\r\n"]);
    ask(&mut connect(METADATA_SERVICE.to_ipv6_mapped().into()), &["GET /mapped HTTP/1.1\r\n\r\n"]);
    ask(&mut connect(ecs), &["GET /v2/credentials/0b1c HTTP/1.1\r\n\r\n"]);
    let pod = format!("GET /v1/credentials HTTP/1.1\r\nAuthorization: {CANARY}\r\n\r\n");
    ask(&mut connect(eks), &[&pod]);
    let long = format!("GET /long?{CANARY} HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(3000));
    ask(&mut connect(imds), &[&long]);
    ask(&mut connect(IpAddr::V4(Ipv4Addr::LOCALHOST)), &["GET /elsewhere HTTP/1.1\r\n\r\n"]);
}

/// What the role above says to the services and hears from them, and every byte of the rings meanwhile.
fn exchanges(metadata: MetadataConfig) -> (Vec<Exchange>, Records) {
    let mut kernel = load_with(&LoadOptions { metadata, ..plain() });
    assert!(kernel.coverage().has("metadata_request"), "{:?}", kernel.coverage());
    let addresses = SERVICES.map(|address| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        format!("ip address add {address}/{bits} dev lo && ")
    });
    let furnished =
        format!("ip link set lo up && {} exec \"$0\" --exact plays_its_role --quiet", addresses.concat());
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sh", "-c", &furnished]).arg(std::env::current_exe().unwrap());
    command.env(ROLE, "exchange 0").stdout(std::process::Stdio::null());
    let (tgid, status, records) = watch(&mut kernel, command.spawn().unwrap());
    assert!(status.success());
    assert_eq!(kernel.losses().unwrap().metadata.lost(), 0);
    let told = records.of(kind::EXCHANGE, tgid).into_iter().map(|(exchange, _)| exchange).collect();
    (told, records)
}

#[test]
fn words_with_metadata_services_are_told_and_nobody_elses() {
    let _turn = turn();
    let (told, records) = exchanges(MetadataConfig { requests: true, access_key_ids: false });
    let seen: Vec<(u16, u32, &str, u32)> = told
        .iter()
        .map(|exchange| {
            (exchange.family, exchange.op, std::str::from_utf8(exchange.line()).unwrap(), exchange.signs)
        })
        .collect();
    let asked = exchange::op::REQUEST;
    let expect = [
        (2, asked, "GET /latest/meta-data/ HTTP/1.1", 0),
        (2, asked, "PUT /latest/api/token HTTP/1.1", sign::TOKEN_TTL),
        (2, asked, "GET /latest/meta-data/iam HTTP/1.1", sign::TOKEN),
        (10, asked, "GET /six HTTP/1.1", 0),
        (2, asked, "GET /mapped HTTP/1.1", 0),
        (2, asked, "GET /v2/credentials/0b1c HTTP/1.1", 0),
        (2, asked, "GET /v1/credentials HTTP/1.1", 0),
        (2, asked, "GET /long HTTP/1.1", sign::QUERY | sign::HEADERS_CUT),
    ];
    assert_eq!(seen, expect);
    let connects = records.connects(told[0].header.process.tgid);
    for exchange in &told {
        assert_eq!(exchange.header.process, connects[0].header.process);
        assert_ne!(exchange.header.flags & flag::METADATA_SERVICE, 0);
    }
    let holds = |text: &str| {
        records.bytes.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    assert!(!holds(CANARY) && !holds(HANDED_OUT), "the rings hold what nobody asked for");
}

#[test]
fn of_an_answer_the_ring_holds_the_id_of_the_key_alone() {
    let _turn = turn();
    let (told, records) = exchanges(MetadataConfig { requests: true, access_key_ids: true });
    let answers: Vec<(&[u8], &[u8])> = told
        .iter()
        .filter(|exchange| exchange.op == exchange::op::CREDENTIALS)
        .map(|exchange| (exchange.line(), exchange.key()))
        .collect();
    assert_eq!(answers.len(), 8, "{answers:?}");
    assert!(answers.iter().all(|(_, key)| *key == HANDED_OUT.as_bytes()));
    assert!(answers.contains(&(&b"GET /v1/credentials HTTP/1.1"[..], HANDED_OUT.as_bytes())));
    let holds = |text: &str| {
        records.bytes.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    assert!(!holds(CANARY) && !holds("TTTTTTTT"), "a secret is in the ring");
}
