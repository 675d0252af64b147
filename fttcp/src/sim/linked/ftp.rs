// SPDX-License-Identifier: GPL-3.0-only
//! FTP as its plug-in knows it (RFC 959): a client that logs in, fetches and stores files in either mode, and a server that
//! takes `REST`.

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::apps::{
    App, CLIENT, CONTROL_PORT, SERVER, Transfer, content, digest, ended, give, line, listening,
    number, take,
};
use crate::sim::host::Host;

const DATA_PORT: u16 = 20;

/// How data connections are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// By the client.
    Passive,
    /// By the server, from its data port, when a transfer is asked for.
    Active,
    /// By the server, from any port, before it answers `PORT`.
    Early,
}

/// The client's data connection.
struct Side {
    socket: SocketHandle,
    unsent: Vec<u8>,
    got: Vec<u8>,
}

/// See the module's text.
pub(super) struct Client {
    control: SocketHandle,
    mode: Mode,
    heard: Vec<u8>,
    unsent: Vec<u8>,
    said: Vec<String>,
    files: Vec<Transfer>,
    next: usize,
    /// What it waits for.
    want: &'static str,
    data: Option<Side>,
    told: bool,
    port: u16,
    results: Vec<String>,
}

impl Client {
    pub(super) fn new(host: &mut Host, mode: Mode, files: Vec<Transfer>) -> Self {
        let control = host.add_socket();
        host.connect(control, (SERVER, CONTROL_PORT), 30_000);
        Self {
            control,
            mode,
            heard: Vec::new(),
            unsent: Vec::new(),
            said: Vec::new(),
            files,
            next: 0,
            want: "220",
            data: None,
            told: false,
            port: 31_000,
            results: Vec::new(),
        }
    }

    fn say(&mut self, command: &str, want: &'static str) {
        self.unsent.extend(format!("{command}\r\n").into_bytes());
        self.want = want;
    }

    fn next_port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }

    /// Asks for where the next file goes, or leaves.
    fn next_file(&mut self, host: &mut Host) {
        if self.next == self.files.len() {
            self.say("QUIT", "221");
        } else if self.mode == Mode::Passive {
            self.say("PASV", "227");
        } else {
            let port = self.next_port();
            let socket = listening(host, port);
            self.begin(socket);
            let [a, b, c, d] = CLIENT.octets();
            let [high, low] = port.to_be_bytes();
            self.say(&format!("PORT {a},{b},{c},{d},{high},{low}"), "200");
        }
    }

    fn begin(&mut self, socket: SocketHandle) {
        let Transfer { up, id, len } = self.files[self.next];
        self.data = Some(Side {
            socket,
            unsent: if up { content(id, len) } else { Vec::new() },
            got: Vec::new(),
        });
    }

    fn ask(&mut self) {
        let Transfer { up, id, len } = self.files[self.next];
        let verb = if up { "STOR" } else { "RETR" };
        self.say(&format!("{verb} {id}-{len}"), "150");
    }

    fn hear(&mut self, line: &str, host: &mut Host) {
        let code = &line[..line.len().min(3)];
        // Each server has ports of its own.
        let text = if code == "227" { code } else { line };
        self.said.push(text.to_owned());
        if code != self.want {
            self.said.push(format!("but wanted {}", self.want));
            return;
        }
        match code {
            "220" => self.say("USER x", "230"),
            "230" => self.say("TYPE I", "200"),
            "200" if self.data.is_none() => self.next_file(host),
            "200" => self.ask(),
            "227" => {
                let numbers: Vec<u16> = line
                    .split(|it: char| !it.is_ascii_digit())
                    .filter_map(|it| it.parse().ok())
                    .collect();
                let socket = host.add_socket();
                let port = self.next_port();
                let to = numbers[5] * 256 + numbers[6];
                host.connect(socket, (SERVER, to), port);
                self.begin(socket);
                self.ask();
            }
            "150" => self.want = "226",
            "226" => self.told = true,
            _ => host.socket(self.control).close(),
        }
    }
}

impl App for Client {
    fn run(&mut self, host: &mut Host) {
        take(host.socket(self.control), &mut self.heard);
        while let Some(line) = line(&mut self.heard) {
            self.hear(&line, host);
        }
        let up = self.files.get(self.next).is_some_and(|it| it.up);
        if let Some(side) = &mut self.data {
            let socket = host.socket(side.socket);
            take(socket, &mut side.got);
            give(socket, &mut side.unsent);
            let over = if up {
                side.unsent.is_empty()
            } else {
                !socket.may_recv()
            };
            let begun = !matches!(socket.state(), tcp::State::Listen | tcp::State::SynSent);
            if begun && over && socket.may_send() {
                socket.close();
            }
            if self.told && ended(socket) {
                self.results.push(digest(&side.got));
                self.data = None;
                self.told = false;
                self.next += 1;
                self.next_file(host);
            }
        }
        give(host.socket(self.control), &mut self.unsent);
    }

    fn done(&self, host: &mut Host) -> Option<Vec<String>> {
        let left = ended(host.socket(self.control)) && self.next == self.files.len();
        left.then(|| [self.results.as_slice(), &self.said].concat())
    }
}

/// A transfer, or what is ready for one.
struct Data {
    socket: SocketHandle,
    file: Option<File>,
}

struct File {
    up: bool,
    unsent: Vec<u8>,
    got: Vec<u8>,
    begun: bool,
}

/// See the module's text.
pub(super) struct Server {
    control: SocketHandle,
    mode: Mode,
    heard: Vec<u8>,
    unsent: Vec<u8>,
    /// The end that the client has named.
    named: Option<u16>,
    data: Option<Data>,
    /// `PORT` is answered when the connection is there.
    owes: bool,
    offset: usize,
    /// Of its next data connection.
    port: u16,
}

impl Server {
    /// `index`: which of the servers it is.
    pub(super) fn new(host: &mut Host, mode: Mode, index: usize) -> Self {
        Self {
            control: listening(host, CONTROL_PORT),
            mode,
            heard: Vec::new(),
            unsent: b"220 ready\r\n".to_vec(),
            named: None,
            data: None,
            owes: false,
            offset: 0,
            port: 40_000 + 1000 * index as u16,
        }
    }

    fn say(&mut self, reply: &str) {
        self.unsent.extend(format!("{reply}\r\n").into_bytes());
    }

    fn open(&mut self, host: &mut Host, from: u16) {
        let Some(port) = self.named.take() else {
            return;
        };
        let socket = host.add_socket();
        host.connect(socket, (CLIENT, port), from);
        self.data = Some(Data { socket, file: None });
    }

    fn obey(&mut self, command: &str, host: &mut Host) {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "USER" => self.say("230 in"),
            "TYPE" => self.say("200 so be it"),
            "REST" => {
                self.offset = rest.parse().unwrap_or(0);
                self.say("350 from there");
            }
            "PASV" => {
                self.port += 1;
                let socket = listening(host, self.port);
                self.data = Some(Data { socket, file: None });
                let [a, b, c, d] = SERVER.octets();
                let [high, low] = self.port.to_be_bytes();
                self.say(&format!("227 Passive ({a},{b},{c},{d},{high},{low})"));
            }
            "PORT" => {
                let numbers: Vec<u16> = rest.split(',').filter_map(|it| it.parse().ok()).collect();
                self.named = Some(numbers[4] * 256 + numbers[5]);
                if self.mode == Mode::Early {
                    self.port += 1;
                    self.open(host, self.port);
                    self.owes = true;
                } else {
                    self.say("200 fine");
                }
            }
            "RETR" | "STOR" => {
                if self.mode == Mode::Active {
                    self.open(host, DATA_PORT);
                }
                let up = word == "STOR";
                let name = rest.replace('-', " ");
                let mut unsent = content(number(&name, 0), number(&name, 1));
                unsent.drain(..std::mem::take(&mut self.offset).min(unsent.len()));
                let file = File {
                    up,
                    unsent: if up { Vec::new() } else { unsent },
                    got: Vec::new(),
                    begun: false,
                };
                match &mut self.data {
                    Some(data) => data.file = Some(file),
                    None => self.say("425 no data connection"),
                }
            }
            "QUIT" => {
                self.say("221 bye");
                give(host.socket(self.control), &mut self.unsent);
                host.socket(self.control).close();
            }
            _ => self.say("502 what?"),
        }
    }

    fn transfer(&mut self, host: &mut Host) {
        let Some(data) = &mut self.data else {
            return;
        };
        let socket = host.socket(data.socket);
        let open = !matches!(
            socket.state(),
            tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived
        );
        if open && std::mem::take(&mut self.owes) {
            self.unsent.extend(b"200 here\r\n");
        }
        let Some(file) = data.file.as_mut().filter(|_| open) else {
            return;
        };
        if !std::mem::replace(&mut file.begun, true) {
            self.unsent.extend(b"150 here it comes\r\n");
        }
        take(socket, &mut file.got);
        give(socket, &mut file.unsent);
        let over = if file.up {
            !socket.may_recv()
        } else {
            file.unsent.is_empty() && socket.send_queue() == 0
        };
        if over {
            socket.close();
            let reply = format!("226 {}", digest(&file.got));
            self.data = None;
            self.say(&reply);
        }
    }
}

impl App for Server {
    fn run(&mut self, host: &mut Host) {
        take(host.socket(self.control), &mut self.heard);
        let busy = |server: &Self| {
            let transfers = server.data.as_ref().is_some_and(|it| it.file.is_some());
            transfers || server.owes
        };
        while !busy(self)
            && let Some(command) = line(&mut self.heard)
        {
            self.obey(&command, host);
        }
        self.transfer(host);
        give(host.socket(self.control), &mut self.unsent);
    }

    fn done(&self, _: &mut Host) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}
