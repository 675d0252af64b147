# SPDX-License-Identifier: GPL-3.0-only
# A session that changes folders, files and names as fast as its server answers, while that dies at any moment: what was
# asked for is done, once. Set before: CRASHES and FILES, the folder that is served.

import os, threading

def there(path):
    return os.path.exists(f'{FILES}/in/{path}')

def act(command, code, done):
    '''Must not be carried out twice. Its client hears that it was carried out, or that it cannot be, once for each crash: then
    the dead server had carried it out, and had not said so.'''
    global refused
    try:
        reply = ftp.sendcmd(command)
        assert reply.startswith(code), (command, reply)
    except ftplib.error_perm as error:
        refused += 1
        assert refused <= 1, (command, error)
    assert done(), command

def round():
    act('MKD d', '257', lambda: os.path.isdir(f'{FILES}/in/d'))
    assert ftp.pwd() == '/in'
    ftp.storbinary('STOR d/a', io.BytesIO(b'content'))
    assert ftp.size('d/a') == 7
    assert ftp.sendcmd('RNFR d/a').startswith('350')
    act('RNTO d/b', '250', lambda: there('d/b') and not there('d/a'))
    names = [os.path.basename(name) for name in ftp.nlst('d')]
    assert [name for name in names if not name.startswith('.')] == ['b'], names
    act('DELE d/b', '250', lambda: not there('d/b'))
    act('RMD d', '250', lambda: not there('d'))

ftp.cwd('in')
ftp.voidcmd('TYPE I')
for crash in range(CRASHES):
    refused = 0
    round()
    # The server dies between these two, while rounds go on.
    over = threading.Event()
    def wait():
        pause()
        over.set()
    waits = threading.Thread(target=wait, daemon=True)
    waits.start()
    while not over.is_set():
        round()
    waits.join()
ftp.quit()
