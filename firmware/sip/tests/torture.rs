//! The messages RFC 4475 describes, each with this crate's verdict, and a good request after
//! each to show that the user agent still lives.
//!
//! Folded headers and white space before a colon are legal in RFC 3261 and refused here; see
//! `Fault::Folded`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{hop, origin};
use tipring_sip::message::{Frame, StreamFramer};
use tipring_sip::ua::{Event, Input, Output, Peer, Settings, UserAgent};

/// What became of a message.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    /// An event came up: a call.
    Call,
    /// The first final answer.
    Answered(u16),
    /// Nothing at all.
    Silence,
}
use Verdict::{Answered, Call, Silence};

fn agent() -> UserAgent {
    UserAgent::new(origin(), Settings::default(), [3; 32])
}

fn feed(ua: &mut UserAgent, bytes: &[u8]) -> Verdict {
    let now = origin();
    ua.handle(now, Input::Received { peer: Peer::Trusted(1), hop: hop(1, 2), bytes });
    let mut verdict = Silence;
    while let Some(output) = ua.poll() {
        match output {
            Output::Event(Event::Incoming(_)) => verdict = Call,
            Output::Event(other) => panic!("unexpected {other:?}"),
            Output::Send { bytes, .. } => {
                // An answer to a damaged request repeats the damaged To and From, so only the
                // first line is looked at.
                let digits = bytes.strip_prefix(b"SIP/2.0 ").expect("an answer").get(..3);
                let status = std::str::from_utf8(digits.unwrap()).unwrap().parse().unwrap();
                if status != 100 {
                    verdict = Answered(status);
                }
            }
        }
    }
    verdict
}

fn alive(ua: &mut UserAgent, n: usize) {
    let options = format!(
        "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKalive{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\nCall-ID: alive{n}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    );
    assert_eq!(feed(ua, options.as_bytes()), Answered(200), "alive after {n}");
}

const HEAD: &str = "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bK-{n}\n\
From: <sip:caller@example.com>;tag=f{n}\nTo: <sip:callee@example.com>\nCall-ID: torture-{n}@example.com\n\
Max-Forwards: 70\nContact: <sip:caller@192.0.2.2>\n";

const SDP: &str = "v=0\no=u 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\nm=audio 9876 RTP/AVP 0\n";

fn cases() -> Vec<(&'static str, String, Verdict)> {
    let body = |text: &str| (text.replace('\n', "\r\n"), text.replace('\n', "\r\n").len());
    let (_, sdp_len) = body(SDP);
    let with_sdp = |start: &str, extra: &str| {
        format!("{start}\n{HEAD}{extra}Content-Type: application/sdp\nContent-Length: {sdp_len}\n\n{SDP}")
    };
    let plain = |start: &str, extra: &str| format!("{start}\n{HEAD}{extra}\n");
    let uri = "sip:user@example.com";
    vec![
        // 3.1.1 valid messages.
        ("3.1.1.1 tortuous INVITE: folding and spaces before colons, refused here",
         "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
          from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\n\
          Call-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : 0\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\n\n".into(),
         Silence),
        ("3.1.1.1 without folding",
         "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO: sip:vivekg@chair-dnrc.example.com \n\
          from: \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>  ;  tag = 98asjd8\nMaX-fOrWaRdS: 0068\n\
          Call-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length: 0\ncseq: 0009   INVITE\nVia: SIP  /   2.0  /UDP     192.0.2.2;branch=z9hG4bK390skdjuw\n\
          s:\nNewFangledHeader: newfangled value continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\n\
          Route: <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
          v: SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8  , SIP  /    2.0   / UDP  192.168.255.111   ; branch= z9hG4bK30239\n\
          m: \"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam = newvalue ; secondparam ; q = 0.33\n\n".into(),
         Call),
        ("3.1.1.2 wide range of characters",
         "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n\
          Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n\
          To: \"BEL:\u{7} NUL:x\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
          From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\";tag=_token~1'+`*%!-.\n\
          Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n\
          Max-Forwards: 255\nextensionHeader-!.%*+_`'~: \u{ef}\u{bb}\u{bf}\u{5927}\u{505c}\u{96fb}\nContent-Length: 0\n\n".into(),
         Answered(400)),
        ("3.1.1.2 without the control character",
         "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n\
          Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n\
          To: \"BEL NUL\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
          From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\";tag=_token~1'+`*%!-.\n\
          Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n\
          Max-Forwards: 255\nextensionHeader-!.%*+_`'~: \u{ef}\u{bb}\u{bf}\u{5927}\u{505c}\u{96fb}\nContent-Length: 0\n\n".into(),
         Answered(405)),
        ("3.1.1.3 escapes", with_sdp("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", "CSeq: 1 INVITE\n"), Call),
        ("3.1.1.4 escaped nulls", plain("REGISTER sip:example.com SIP/2.0", "CSeq: 1 REGISTER\nContact: <sip:%00@host5.example.com>\n"), Answered(405)),
        ("3.1.1.5 percent that is no escape in the method", plain("RE%47IST%45R sip:registrar.example.com SIP/2.0", "CSeq: 1 RE%47IST%45R\n"), Answered(405)),
        ("3.1.1.6 no space before the bracket",
         "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\n\
          Max-Forwards: 70\nCall-ID: lwsdisp.1234abcd@funky.example.com\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw\nl: 0\n\n".into(),
         Answered(200)),
        ("3.1.1.7 long values",
         with_sdp(&format!("INVITE {uri} SIP/2.0"), &format!("CSeq: 3882340 INVITE\nUnknown-{}: {}\n", "Long".repeat(20), "unknown-value-".repeat(30))),
         Call),
        ("3.1.1.8 bytes after the message",
         format!("{}INVITE sip:joe@example.com SIP/2.0\nt: sip:joe@example.com\n\n", plain("OPTIONS sip:example.com SIP/2.0", "CSeq: 8 OPTIONS\nContent-Length: 0\n")),
         Answered(200)),
        ("3.1.1.9 semicolons in the user part", plain("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", "CSeq: 8 OPTIONS\n"), Answered(200)),
        ("3.1.1.10 unknown transports",
         format!("OPTIONS {uri} SIP/2.0\n{HEAD}CSeq: 60 OPTIONS\nVia: SIP/2.0/UDP t1;branch=z9hG4bKa\nVia: SIP/2.0/SCTP t2\nVia: SIP/2.0/UNKNOWN t4\n\n"),
         Answered(200)),
        ("3.1.1.11 multipart without a session description",
         format!("INVITE {uri} SIP/2.0\n{HEAD}CSeq: 1 INVITE\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\n\n--7a9cbec02ceef655\nContent-Type: text/plain\n\nHello\n--7a9cbec02ceef655--\n"),
         Answered(415)),
        ("multipart with a session description",
         format!("INVITE {uri} SIP/2.0\n{HEAD}CSeq: 1 INVITE\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\n\nHello\n--b\nContent-Type: application/sdp\n\n{SDP}\n--b--\n"),
         Call),
        ("multipart of nine parts",
         format!("INVITE {uri} SIP/2.0\n{HEAD}CSeq: 1 INVITE\nContent-Type: multipart/mixed;boundary=b\n\n{}--b\nContent-Type: application/sdp\n\n{SDP}\n--b--\n", "--b\n\nx\n".repeat(8)),
         Answered(415)),
        // 3.1.2 invalid messages.
        ("3.1.2.1 extraneous separators",
         format!("INVITE {uri} SIP/2.0\nMax-Forwards: 15\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP 192.0.2.1;;,;,,\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>\nCall-ID: x\nContact: \"Joe\" <sip:joe@example.org>;;;;\n\n"),
         Silence),
        ("3.1.2.2 content-length too large", with_sdp(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\n").replace(&format!("Content-Length: {sdp_len}"), "Content-Length: 9999"), Answered(400)),
        ("3.1.2.3 negative content-length", plain(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\nContent-Length: -999\n"), Answered(400)),
        ("3.1.2.4 scalar overflow, request",
         format!("REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bK342sdfoi3\nTo: <sip:user@example.com>\nFrom: <sip:user@example.com>;tag=239232jh3\n\
          CSeq: 36893488147419103232 REGISTER\nCall-ID: scalar02.23o0pd9vanlq3wnrlnewofjas9ui32\nMax-Forwards: 300\nExpires: 1{}\nContact: <sip:user@host129.example.com>;expires=280297596632815\n\n", "0".repeat(100)),
         Answered(400)),
        ("3.1.2.5 scalar overflow, response",
         "SIP/2.0 503 Service Unavailable\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bKzzxdiwo34sw;received=192.0.2.129\n\
          To: <sip:user@example.com>\nFrom: <sip:other@example.net>;tag=2easdjfejw\nCSeq: 9292394834772304023312 OPTIONS\n\
          Call-ID: scalarlg.noase0of0234hn2qofoaf0232aewf2394r\nRetry-After: 949302838503028349304023988\n\n".into(),
         Silence),
        ("3.1.2.6 unterminated quote", format!("INVITE {uri} SIP/2.0\n{}CSeq: 8 INVITE\n\n", HEAD.replace("To: <sip:callee@example.com>", "To: \"Mr. J. User <sip:j.user@example.com>")), Answered(400)),
        ("3.1.2.7 brackets around the request-URI", plain("INVITE <sip:user@example.com> SIP/2.0", "CSeq: 1 INVITE\n"), Answered(400)),
        ("3.1.2.8 white space in the request-URI", plain("INVITE sip:user@example.com; lr SIP/2.0", "CSeq: 2 INVITE\n"), Answered(400)),
        ("3.1.2.9 several spaces in the request line", plain("INVITE  sip:user@example.com  SIP/2.0", "CSeq: 2 INVITE\n"), Answered(400)),
        ("3.1.2.10 spaces at the end of the request line", plain("OPTIONS sip:remote-target@example.com SIP/2.0  ", "CSeq: 8 OPTIONS\n"), Answered(400)),
        ("3.1.2.11 headers in the request-URI", plain("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", "CSeq: 8 INVITE\n"), Answered(400)),
        ("3.1.2.12 a date of another zone is not looked at", plain(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 8 OPTIONS\nDate: Fri, 01 Jan 2010 16:00:00 EST\n"), Answered(200)),
        ("3.1.2.13 contact not enclosed", plain(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\n").replace("Contact: <sip:caller@192.0.2.2>", "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E"), Answered(400)),
        ("3.1.2.14 spaces in the addr-spec", format!("OPTIONS {uri} SIP/2.0\n{}CSeq: 8 OPTIONS\n\n", HEAD.replace("To: <sip:callee@example.com>", "To: \"Watson, Thomas\" < sip:t.watson@example.org >")), Answered(400)),
        ("3.1.2.15 unquoted display name", format!("OPTIONS {uri} SIP/2.0\n{}CSeq: 8 OPTIONS\n\n", HEAD.replace("From: <sip:caller@example.com>", "From: Bell, Alexander <sip:a.g.bell@example.com>")), Answered(400)),
        ("3.1.2.16 unknown version", plain("OPTIONS sip:t.watson@example.org SIP/7.0", "CSeq: 8 OPTIONS\n"), Answered(505)),
        ("3.1.2.17 method mismatch", plain(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 8 INVITE\n"), Answered(400)),
        ("3.1.2.18 unknown method mismatch", plain(&format!("NEWMETHOD {uri} SIP/2.0"), "CSeq: 8 INVITE\n"), Answered(400)),
        ("3.1.2.19 overlarge status", plain("SIP/2.0 4294967301 better not break the receiver", "CSeq: 8 OPTIONS\n"), Silence),
        // 3.2 transaction layer.
        ("3.2.1 branch of the cookie alone", format!("OPTIONS {uri} SIP/2.0\n{}CSeq: 8 OPTIONS\n\n", HEAD.replace("z9hG4bK-{n}", "z9hG4bK")), Answered(200)),
        // 3.3 application layer.
        ("3.3.1 missing headers", "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\nContent-Length: 0\n\n".into(), Silence),
        ("3.3.2 unknown scheme", plain("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "CSeq: 3 OPTIONS\n"), Answered(416)),
        ("3.3.3 known but atypical scheme", plain("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "CSeq: 3 OPTIONS\n"), Answered(416)),
        ("3.3.4 unknown schemes in headers",
         format!("OPTIONS {uri} SIP/2.0\n{}CSeq: 8 OPTIONS\n\n", HEAD.replace("To: <sip:callee@example.com>", "To: isbn:2983792873").replace("From: <sip:caller@example.com>", "From: <http://www.example.com>")),
         Answered(200)),
        ("3.3.5 Require", plain(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 8 OPTIONS\nRequire: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis\n"), Answered(420)),
        ("3.3.6 unknown content-type", format!("INVITE {uri} SIP/2.0\n{HEAD}CSeq: 8 INVITE\nContent-Type: application/unknownformat\n\n<audio>\n"), Answered(415)),
        ("unknown but optional content", format!("INVITE {uri} SIP/2.0\n{HEAD}CSeq: 8 INVITE\nContent-Type: application/x\nContent-Disposition: session;handling=optional\n\nx\n"), Call),
        ("unknown content encoding", with_sdp(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\nContent-Encoding: gzip\n"), Answered(415)),
        ("3.3.7 unknown authorization scheme", plain(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 8 OPTIONS\nAuthorization: NoOneKnowsThisScheme opaque-data=here\n"), Answered(200)),
        ("3.3.8 single headers twice",
         format!("INVITE {uri} SIP/2.0\n{HEAD}CSeq: 5 INVITE\nVia: SIP/2.0/UDP 192.0.2.53;branch=z9hG4bKkdj.multi\nFrom: sip:joe@example.com;tag=3413415\nTo: sip:user@example.com\nCall-ID: multi\nCSeq: 59 INVITE\nMax-Forwards: 5\n\n"),
         Answered(400)),
        ("3.3.9 two content-lengths", plain(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 8 OPTIONS\nContent-Length: 0\nContent-Length: 5\n"), Answered(400)),
        ("3.3.10 response to nothing with a broadcast Via",
         "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\n\
          Call-ID: bcast.0384840201234ksdfak3j2erwedfsASdf\nCSeq: 35 INVITE\nFrom: sip:user@example.com;tag=11141343\nTo: sip:user@example.edu;tag=2229\n\n".into(),
         Silence),
        ("3.3.11 max-forwards zero", plain(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 8 OPTIONS\n").replace("Max-Forwards: 70", "Max-Forwards: 0"), Answered(483)),
        ("3.3.12 register, contact parameters", plain("REGISTER sip:example.com SIP/2.0", "CSeq: 8 REGISTER\nContact: <sip:+19725552222@gw1.example.net>;unknownparam\n"), Answered(405)),
        ("3.3.15 unacceptable Accept", with_sdp(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\nAccept: text/nobodyKnowsThis\n"), Answered(406)),
        ("Accept with SDP", with_sdp(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\nAccept: text/x, application/SDP;level=1\n"), Call),
        // 3.4 backward compatibility.
        ("3.4.1 RFC 2543",
         format!("INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\n\
          Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>\nTo: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: inv2543.1717@ift.client.example.com\n\
          CSeq: 56 INVITE\nContact: <sip:+13035551111@192.0.2.2>\nContent-Type: application/sdp\n\n{SDP}"),
         Call),
        // Requests this side does not serve, and dialogs that are not there.
        ("BYE to nothing", plain(&format!("BYE {uri} SIP/2.0"), "CSeq: 8 BYE\n"), Answered(481)),
        ("BYE with a tag", plain(&format!("BYE {uri} SIP/2.0"), "CSeq: 8 BYE\n").replace("To: <sip:callee@example.com>", "To: <sip:callee@example.com>;tag=0123456789abcdef"), Answered(481)),
        ("INVITE with a tag is never a new call", with_sdp(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\n").replace("To: <sip:callee@example.com>", "To: <sip:callee@example.com>;tag=x"), Answered(481)),
        ("CANCEL of nothing", plain(&format!("CANCEL {uri} SIP/2.0"), "CSeq: 8 CANCEL\n"), Answered(481)),
        ("ACK of nothing", plain(&format!("ACK {uri} SIP/2.0"), "CSeq: 8 ACK\n"), Silence),
        ("malformed ACK", plain(&format!("ACK {uri} SIP/2.0"), "CSeq: 8 ACK\nX : y\n"), Silence),
        ("REFER", plain(&format!("REFER {uri} SIP/2.0"), "CSeq: 8 REFER\nRefer-To: <sip:x@y>\n"), Answered(403)),
        ("MESSAGE", plain(&format!("MESSAGE {uri} SIP/2.0"), "CSeq: 8 MESSAGE\n"), Answered(405)),
        ("SUBSCRIBE", plain(&format!("SUBSCRIBE {uri} SIP/2.0"), "CSeq: 8 SUBSCRIBE\nEvent: presence\n"), Answered(405)),
        ("INVITE without Contact", plain(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\n").replace("Contact: <sip:caller@192.0.2.2>\n", ""), Answered(400)),
        ("100rel required", plain(&format!("INVITE {uri} SIP/2.0"), "CSeq: 8 INVITE\nRequire: 100rel\n"), Answered(420)),
        ("a keep-alive", "\n\n".into(), Silence),
        ("something else altogether", "GET / HTTP/1.1\nHost: x\n\n".into(), Silence),
    ]
}

#[test]
fn verdicts_over_udp() {
    let mut ua = agent();
    for (n, (name, text, want)) in cases().into_iter().enumerate() {
        let bytes = text.replace('\n', "\r\n").replace("{n}", &n.to_string());
        assert_eq!(feed(&mut ua, bytes.as_bytes()), want, "{name}");
        alive(&mut ua, n);
    }
}

/// Over a stream each message either comes out of the framer as it went in, or closes it.
#[test]
fn framing_agrees() {
    for (n, (name, text, want)) in cases().into_iter().enumerate() {
        let bytes = text.replace('\n', "\r\n").replace("{n}", &n.to_string());
        let mut ua = agent();
        let mut framer = StreamFramer::new();
        let mut verdict = None;
        for chunk in bytes.as_bytes().chunks(7) {
            framer.push(chunk);
            if let Some(Ok(Frame::Message(frame))) = framer.take() {
                verdict.get_or_insert(feed(&mut ua, frame));
            }
        }
        if let Some(verdict) = verdict {
            assert_eq!(verdict, want, "{name}");
        }
    }
}

/// What a request must not be able to do to a call it is not part of (off-path requests).
#[test]
fn strangers_cannot_touch_a_call() {
    let mut p = common::Pair::new();
    let (_, callee) = p.connect();
    let bye = p.log.len();
    let call_id = "unknown";
    for n in 0..100u64 {
        for (method, tag) in
            [("BYE", format!("{n:016x}")), ("INVITE", "0".repeat(16)), ("UPDATE", "x".into())]
        {
            let text = format!(
                "{method} sip:200@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKoff{n}{method}\r\nMax-Forwards: 70\r\n\
                 From: <sip:100@192.0.2.1>;tag=guess\r\nTo: <sip:200@192.0.2.2>;tag={tag}\r\nCall-ID: {call_id}\r\nCSeq: 9 {method}\r\n\r\n"
            );
            let input = |peer| Input::Received { peer, hop: hop(2, 66), bytes: text.as_bytes() };
            p.b.ua.handle(p.now, input(Peer::Unknown));
            assert!(p.b.ua.poll().is_none(), "an unknown source gets no answer");
            p.b.ua.handle(p.now, input(Peer::Trusted(66)));
            let Some(Output::Send { bytes, .. }) = p.b.ua.poll() else { panic!("481") };
            assert!(bytes.starts_with(b"SIP/2.0 481"));
        }
    }
    assert_eq!(p.log.len(), bye);
    assert_eq!(p.b.ua.counters().unknown_dropped, 300);
    p.b.ua.hang_up(p.now, callee, None).unwrap();
    p.nothing_left();
}
