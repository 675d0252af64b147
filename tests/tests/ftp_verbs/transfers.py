# SPDX-License-Identifier: GPL-3.0-only
# A transfer of each kind, each in a session of its own: a part before pause(), in which the server dies, and the rest after
# it. Set before: SEED, CRASHES, FILES, the folder that is served, and of the server: MLSD, whether it knows it, RENAMES, whether
# it gives a file that is written in its middle another name meanwhile, and MIXES, whether passive sessions go on if one in
# active mode ends.

import os, random, re, time

random.seed(SEED)
BINARY = random.randbytes(600_000)
LINES = b''.join(b'line %d %s\r\n' % (line, random.randbytes(8).hex().encode()) for line in range(20_000))
OLD, NEW = random.randbytes(50_000), random.randbytes(300_000)
# A client waits so long for what a server does by itself.
PATIENCE = 10

def content(path):
    with open(f'{FILES}/{path}', 'rb') as file:
        return file.read()

def opened(kind):
    ftp = session()
    ftp.set_pasv(not MIXES or random.random() < 0.5)
    ftp.voidcmd(f'TYPE {kind}')
    return ftp

def goes_on(ftp):
    'The session is as good as before.'
    assert ftp.pwd() == '/'
    small = io.BytesIO()
    ftp.retrbinary('RETR small', small.write)
    assert small.getvalue() == content('small')
    ftp.quit()

class Download:
    def __init__(self, command, kind='I'):
        whole = []
        ftp.voidcmd(f'TYPE {kind}')
        with ftp.transfercmd(command) as data:
            while piece := data.recv(1 << 16):
                whole.append(piece)
        assert ftp.voidresp().startswith('226')
        self.want, self.got = b''.join(whole), b''
        assert len(self.want) > 100_000, (command, len(self.want))
        self.ftp = opened(kind)
        self.data = self.ftp.transfercmd(command)
        part = random.randrange(len(self.want))
        while len(self.got) < part:
            self.got += self.data.recv(part - len(self.got))

    def finish(self):
        while piece := self.data.recv(1 << 16):
            self.got += piece
        self.data.close()
        assert self.ftp.voidresp().startswith('226')
        assert self.got == self.want, (len(self.got), len(self.want))
        goes_on(self.ftp)

def lost(ftp, data, left):
    'Its client is told that an upload ended before its end.'
    try:
        data.sendall(left)
        data.shutdown(socket.SHUT_WR)
        assert data.recv(1), 'half a file looks like a whole one'
        assert False, 'the server says something to an upload'
    except (ConnectionResetError, BrokenPipeError):
        data.close()
    try:
        ftp.voidresp()
        assert False, 'half an upload was said to be complete'
    except ftplib.error_temp as error:
        assert str(error).startswith('426'), error

class Upload:
    def __init__(self, command, sent, kind='I', rest=None, prepare=lambda ftp: None):
        self.ftp = opened(kind)
        prepare(self.ftp)
        self.data = self.ftp.transfercmd(command, rest)
        part = random.randrange(1, len(sent))
        self.data.sendall(sent[:part])
        self.left = sent[part:]

    def finish(self):
        self.data.sendall(self.left)
        self.data.close()
        assert self.ftp.voidresp().startswith('226')
        self.check()
        goes_on(self.ftp)

class Stored(Upload):
    def __init__(self):
        super().__init__('STOR in/stored', BINARY)

    def check(self):
        assert content('in/stored') == BINARY

class Text(Upload):
    'What is converted is the same as without a crash.'
    def __init__(self):
        ftp.storlines('STOR in/whole', io.BytesIO(LINES))
        super().__init__('STOR in/text', LINES, kind='A')

    def check(self):
        assert content('in/whole') in (LINES, LINES.replace(b'\r', b''))
        assert content('in/text') == content('in/whole')

class Restarted(Upload):
    'An upload that had been cut off before.'
    def __init__(self):
        there = random.randrange(1, len(BINARY) - 1)
        ftp.storbinary('STOR in/half', io.BytesIO(BINARY[:there]))
        super().__init__('STOR in/half', BINARY[there:], rest=there)

    def finish(self):
        if RENAMES:
            # What there was has gone with the dead server.
            lost(self.ftp, self.data, self.left)
            self.ftp.storbinary('STOR in/half', io.BytesIO(BINARY))
            self.check()
            goes_on(self.ftp)
        else:
            super().finish()

    def check(self):
        assert content('in/half') == BINARY

class Unique(Upload):
    'The server chooses the name.'
    def __init__(self):
        self.before = set(self.files())
        super().__init__('STOU', BINARY, prepare=lambda ftp: ftp.cwd('in/unique'))

    def files(self):
        # pure-ftpd gives a file its name when all of it is there: what the dead one had begun has another.
        names = os.listdir(f'{FILES}/in/unique')
        return [name for name in names if not name.startswith('.pureftpd-upload')]

    def check(self):
        name, = set(self.files()) - self.before
        assert content(f'in/unique/{name}') == BINARY
        self.ftp.cwd('/')

class Appended(Upload):
    'The client has asked for the size before, as those do that go on with an upload.'
    def __init__(self):
        ftp.storbinary('STOR in/log', io.BytesIO(OLD))
        super().__init__('APPE in/log', NEW, prepare=self.size)

    def size(self, ftp):
        assert ftp.size('in/log') == len(OLD)

    def check(self):
        assert content('in/log') == OLD + NEW

class AppendedBlindly(Upload):
    'Nobody knows how much of it had come: the client is told, and can ask.'
    def __init__(self):
        ftp.storbinary('STOR in/blind', io.BytesIO(OLD))
        super().__init__('APPE in/blind', NEW)
        # Of what never came, nothing would be lost.
        end = time.monotonic() + PATIENCE
        while os.path.getsize(f'{FILES}/in/blind') == len(OLD):
            assert time.monotonic() < end, 'nothing is written'

    def finish(self):
        lost(self.ftp, self.data, self.left)
        there = content('in/blind')
        assert (OLD + NEW).startswith(there) and len(there) > len(OLD)
        self.ftp.voidcmd('TYPE I')
        rest = NEW[self.ftp.size('in/blind') - len(OLD):]
        self.ftp.storbinary('APPE in/blind', io.BytesIO(rest))
        assert content('in/blind') == OLD + NEW
        goes_on(self.ftp)

class Aborted:
    'Its client has enough of it: before the server dies, or after.'
    def __init__(self, early):
        self.ftp = opened('I')
        self.data = self.ftp.transfercmd('RETR big')
        self.data.recv(10_000)
        self.early = early
        if early:
            self.abort()

    def abort(self):
        self.ftp.putcmd('ABOR')

    def finish(self):
        if not self.early:
            self.abort()
        self.data.close()
        self.ftp.putcmd('NOOP')
        codes = [self.ftp.getmultiline()[:3]]
        while codes[-1] != '200':
            codes.append(self.ftp.getmultiline()[:3])
        # Of the transfer and of ABOR, or of both. What pure-ftpd adds about speed, it may say with the code of the beginning.
        done = [code for code in codes if code != '150']
        assert len(done) in (2, 3) and set(done[:-1]) <= {'225', '226', '426'}, codes
        goes_on(self.ftp)

for crash in range(CRASHES):
    transfers = [
        Download('RETR big'),
        Download('RETR text', 'A'),
        Download('LIST many', 'A'),
        Download('NLST many', 'A'),
        *([Download('MLSD many', 'A')] if MLSD else []),
        Stored(),
        Text(),
        Restarted(),
        Unique(),
        Appended(),
        AppendedBlindly(),
        Aborted(True),
        Aborted(False),
    ]
    pause()
    for transfer in transfers:
        try:
            transfer.finish()
        except Exception as error:
            raise RuntimeError(f'crash {crash}: {transfer.__class__.__name__} of {transfer.ftp.sock}') from error
ftp.quit()
