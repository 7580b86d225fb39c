#!/usr/bin/env python3
"""An independent reader of vaults in format version 1, after docs/FORMAT.md (with age.py, blake3.py and zstd.py).

It shares no line with the program that writes vaults, and exists to prove the document: what it can list, verify and extract
with nothing but a vault's directory and a secret, anybody can write again from that text. It is not fast and it never writes
to a vault. Python's standard library, Debian's python3-cryptography and libzstd are all that it needs.

    reader.py list    VAULT --passphrase-file FILE
    reader.py verify  VAULT --passphrase-file FILE [--no-index]
    reader.py show    VAULT [RECOVERY_POINT...] --passphrase-file FILE [--no-index]
    reader.py extract VAULT RECOVERY_POINT DIRECTORY --passphrase-file FILE [--no-index]

--identity-file instead of --passphrase-file takes an age identity (AGE-SECRET-KEY-1...). --no-index finds chunks by the packs'
own directories. Results are JSON on standard output; the exit status is 0 if all is well, 1 if the vault is damaged or something
could not be extracted, and 2 if the vault cannot be opened. Section numbers (§) are those of docs/FORMAT.md.
"""

import argparse
import hashlib
import hmac
import json
import os
import re
import stat
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import age
import zstd
from blake3 import blake3


class Damaged(Exception):  # something is not as the format says
    pass


class Refused(Exception):  # the vault cannot be opened: wrong secret, or a format or feature that this reader does not know
    pass


def need(condition, reason):
    if not condition:
        raise Damaged(reason)


# ------------------------------------------------------------------------------------------- primitives and keys (§1, §3)

def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def hkdf(secret, salt, info):  # 32 bytes of output are one step of RFC 5869
    return mac(mac(salt or bytes(32), secret), info, b"\1")


class Decoder:
    """Reads the fields of a record one after another and refuses every second way to write them."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def raw(self, n):
        need(self.at + n <= len(self.data), self.what + ": too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def fixed(self, *expected):
        for e in expected:
            need(self.raw(len(e)) == e, self.what + ": not what belongs here")

    def u8(self):
        return self.raw(1)[0]

    def uint(self, limit=(1 << 64) - 1):
        v = shift = 0
        while True:
            b = self.u8()
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                break
        need((b or shift == 7) and v <= limit, self.what + ": bad integer")
        return v

    def int(self):
        v = self.uint()
        return v >> 1 ^ -(v & 1)

    def bool(self):
        return self.uint(1) == 1

    def bytes(self):
        return self.raw(self.uint())

    def string(self):
        return self.bytes().decode("utf-8", "surrogateescape")

    def time(self):
        """Nanoseconds since 1970, or None."""
        seconds, nanoseconds = self.int(), self.uint(999_999_999)
        return None if (seconds, nanoseconds) == (-62135596800, 0) else seconds * 10**9 + nanoseconds

    def end(self):
        need(self.at == len(self.data), self.what + ": bytes after the end")


def ascending(d, key):
    """The keys of a counted list, each followed by what the caller reads of its line."""
    last = None
    for _ in range(d.uint()):
        k = key()
        need(last is None or k > last, d.what + ": out of order")
        yield k
        last = k


class Keys:
    def __init__(self, vault, root, maint):
        self.vault, self.maint = vault, maint
        self.kid, self.kdata = self.derive(root, b"chunk identity"), self.derive(root, b"packs epoch 0")
        self.krec, self.kcheck = self.derive(root, b"records"), self.derive(root, b"descriptor")
        self.mobj, self.mblock, self.mpack = (self.derive(maint, p) for p in (b"objects", b"index blocks", b"pack digests"))

    def derive(self, secret, purpose, salt=b""):
        return hkdf(secret, salt, b"strongroom/1 " + purpose + b" " + self.vault)

    def cid(self, kind, digest):
        return mac(self.kid, bytes([kind]), digest)

    def tag(self, name, *content):
        return mac(self.mobj, struct.pack("<I", len(name)), name.encode(), *content)

    def untag(self, name, data):
        need(len(data) >= 32 and hmac.compare_digest(self.tag(name, data[:-32]), data[-32:]), name + ": the tag is wrong")
        return data[:-32]


# -------------------------------------------------------------------------------------------------------------- packs (§6)

class Frame:
    """A line of a directory. origin is None, or id and salt of the pack that the frame was sealed for as frame number."""

    def __init__(self, digest, start, sealed, size, kind, alg, origin, number):
        self.digest, self.start, self.sealed, self.size, self.kind, self.alg = digest, start, sealed, size, kind, alg
        self.origin, self.number = origin, number


CLASSES = {"packs": 1, "mpacks": 2}


class Pack:
    """One pack. Its footer is read at once; if footer or end are lost, its groups are walked instead and damage says why."""

    def __init__(self, keys, path, name):
        self.keys, self.name, self.damage = keys, name, None
        directory, _, ident = name.split("/")
        self.id, self.cls = bytes.fromhex(ident), CLASSES[directory]
        with open(path, "rb") as f:
            self.data = f.read()
        head = self.data[:4096]
        d = Decoder(head, name)
        d.fixed(b"SRPACK\0\1", struct.pack("<HBBI", 1, self.cls, 1, 0), keys.vault, self.id)
        salt, commitment = d.raw(32), d.raw(32)
        need(not any(d.raw(4096 - d.at)), name + ": reserved bytes in the header")
        psk = keys.derive(keys.kdata, b"pack", salt + self.id)
        need(keys.derive(psk, b"pack commitment") == commitment, name + ": sealed under another key")
        self.aeads, self.head = {None: AESGCM(keys.derive(psk, b"pack seal"))}, blake3(head)
        try:
            self.read_end()
            self.read_footer()
        except Damaged as e:
            self.damage = str(e)
            self.walk()

    def open(self, part, number, sealed, aad, origin=None):
        if origin not in self.aeads:
            psk = self.keys.derive(self.keys.kdata, b"pack", origin[16:] + origin[:16])
            self.aeads[origin] = AESGCM(self.keys.derive(psk, b"pack seal"))
        try:
            return self.aeads[origin].decrypt(struct.pack("<B7xI", part, number), bytes(sealed), aad)
        except (InvalidTag, ValueError):
            raise Damaged(f"{self.name}: part {part} number {number} does not authenticate") from None

    def aad(self, part, group, first, offset):
        return bytes([part]) + self.head + struct.pack("<IIQ", group, first, offset)

    def read_end(self):
        end = self.data[-128:]
        need(hmac.compare_digest(mac(self.keys.mpack, self.id, end[:96]), end[96:]), self.name + ": the end is not authentic")
        d = Decoder(end[:96], self.name + ": end")
        d.fixed(b"SRPEND\0\1", struct.pack("<Q", len(self.data)))
        self.footer_at, self.footer_len, self.count = struct.unpack("<QII", d.raw(16))
        d.fixed(bytes([self.cls]), bytes(31))
        self.digest = d.raw(32)
        need(self.footer_at + self.footer_len == len(self.data) - 128, self.name + ": the footer is not before the end")

    def directory(self, d, first, number, count, start):
        """The frames of a group from its directory: count origins, number entries. Also where the directory itself begins."""
        origins, used, frames, at = [None] + [d.raw(48) for _ in range(count)], 0, [], start
        need(len(set(origins)) == count + 1 and all(o[:16] != self.id for o in origins[1:]), d.what + ": impossible origins")
        for i in range(first, first + number):
            digest, old, sealed, size, kind, alg, origin = struct.unpack("<32sIIIBBH", d.raw(48))
            need(16 <= sealed <= size + 16 and size <= 4 << 20 and kind in (1, 2, 3) and alg in (0, 1)
                 and origin <= min(used + 1, count) and (old < 65535 if origin else old == i), f"{d.what}: impossible entry {i}")
            used = max(used, origin)
            frames.append(Frame(digest, at, sealed, size, kind, alg, origins[origin], old))
            at += sealed
        need(used == count, d.what + ": an origin is not used")
        return frames, at

    def read_footer(self):
        plain = self.open(4, 0, self.data[self.footer_at:-128], self.aad(4, 0, self.count, self.footer_at))
        d = Decoder(plain, self.name + ": footer")
        groups, count, total, zero = struct.unpack("<IIQQ", d.raw(24))
        lines = [struct.unpack("<QIIII", d.raw(24)) for _ in range(groups)]
        self.frames, self.groups, next_at = [], [], 4096
        for start, first, number, origins, zero in lines:
            need(start == next_at and first == len(self.frames) and number > 0 and zero == 0, d.what + ": groups do not join")
            frames, at = self.directory(d, first, number, origins, start)
            next_at = align(at + 48 * (number + origins) + 16 + 64)
            self.frames += frames
            self.groups.append((start, first, number, at + 48 * (number + origins) + 16, next_at))
        need(len(self.frames) == count == self.count and next_at == self.footer_at and sum(f.size for f in self.frames) == total
             and zero == 0, d.what + ": wrong totals")
        need(not any(d.raw(len(plain) - d.at)), d.what + ": padding is not zero")

    def read_group(self, group, first, start, end):
        """The frames of a group by its own trailer, which is before end, and its directory; None if there is no such trailer."""
        try:
            plain = self.open(3, group, self.data[end - 64:end], self.aad(3, group, first, start))
        except Damaged:
            return None
        d = Decoder(plain, self.name + ": trailer")
        d.fixed(b"SRGT", struct.pack("<II", group, first))
        number, at, place, stop, origins, zero = struct.unpack("<IQQQII", d.raw(36))
        need((at, stop, zero) == (start, end, 0), d.what + ": stands in the wrong place")
        d = Decoder(self.open(2, group, self.data[place:place + 48 * (number + origins) + 16], self.aad(2, group, first, start)),
                    self.name + ": directory")
        frames, at = self.directory(d, first, number, origins, start)
        need(at == place and align(at + 48 * (number + origins) + 16 + 64) == end, d.what + ": stands in the wrong place")
        return frames

    def walk(self):
        """What complete groups hold, without footer and end."""
        self.frames, start, group = [], 4096, 0
        for end in range(8192, len(self.data) + 1, 4096):
            found = self.read_group(group, len(self.frames), start, end)
            if found:
                self.frames += found
                start, group = end, group + 1

    def content(self, frame):
        aad = struct.pack("<BBBBI", 1, frame.kind, frame.alg, 0, frame.size) + self.keys.cid(frame.kind, frame.digest)
        plain = self.open(1, frame.number, self.data[frame.start:frame.start + frame.sealed], aad, frame.origin)
        if frame.alg == 1:
            plain = zstd.decompress(plain, frame.size)
            need(plain is not None, f"{self.name}: the frame at {frame.start} does not decompress to its size")
        need(len(plain) == frame.size and blake3(plain) == frame.digest, f"{self.name}: the frame at {frame.start} has another content")
        return plain

    def verify(self):
        """Everything in the pack: digest, footer against the groups' own directories, every frame."""
        need(self.damage is None, self.damage)
        need(blake3(memoryview(self.data)[:-128]) == self.digest, self.name + ": the digest is wrong")
        for g, (start, first, number, at, end) in enumerate(self.groups):
            need(not any(self.data[at:end - 64]), self.name + ": a gap is not zero")
            found = self.read_group(g, first, start, end)
            need(found and [vars(f) for f in found] == [vars(f) for f in self.frames[first:first + number]],
                 self.name + ": the footer and a group's directory differ")
        for f in self.frames:
            self.content(f)


def align(n):
    return (n + 4095) & ~4095


# ---------------------------------------------------------------------------------------------------------- the vault (§2)

class Vault:
    def __init__(self, path, secret, use_index=True):
        self.path, self.use_index = os.fsencode(path), use_index
        try:
            self.descriptor = self.read_descriptor(secret)
        except FileNotFoundError:
            raise Refused("this directory is no vault") from None
        self.opened, self.recent = {}, {}  # packs by name; chunks used last
        self.where = None  # (kind, digest) is found by its id: short id → places
        self.deepest = 0  # how many reference sets the deepest one builds on

    def read(self, name):
        with open(os.path.join(self.path, os.fsencode(name)), "rb") as f:
            return f.read()

    def names(self, prefix):
        top = os.path.join(self.path, prefix.encode())
        for d, dirs, files in os.walk(top):
            dirs[:] = sorted(n for n in dirs if not n.startswith(b"."))
            for n in sorted(files):
                if not n.startswith(b"."):
                    yield os.fsdecode(os.path.relpath(os.path.join(d, n), self.path))

    def read_descriptor(self, secret):
        data = self.read("vault")
        d = Decoder(data[:-64], "vault")
        d.fixed(b"SRVAULT\1")
        version = d.uint()
        if version != 1:
            raise Refused(f"the vault has format {version}; this reader knows format 1")
        vault = d.raw(16)
        text = re.sub(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", r"\1-\2-\3-\4-\5", vault.hex())
        out = {"vault": text, "owner": d.string(), "name": d.string(), "arn": d.string(), "region": d.string(), "created": d.time()}
        unknown = [list(ascending(d, d.string)) for _ in range(3)][0]  # this reader writes and prunes nothing
        d.end()
        features = {name: self.read(name) for name in self.names("features")}
        for name, added in features.items():
            d = Decoder(added[:-32], name)
            d.fixed(b"SRFEAT\0\1")
            need("features/" + d.string() == name, name + ": belongs elsewhere")
            unknown += [name] if d.bool() else []
            d.bool(), d.bool(), d.bytes()
            d.end()
        if unknown:
            raise Refused("to read the vault one must know what this reader does not: " + ", ".join(unknown))
        root, maint = self.open_envelope(secret, text)
        self.keys = Keys(vault, root, maint)
        body = self.keys.untag("vault", data)
        need(hmac.compare_digest(mac(self.keys.kcheck, body[:-32]), body[-32:]), "the root key is not this vault's")
        for name, added in features.items():
            self.keys.untag(name, added)
        return out

    def open_envelope(self, secret, vault):
        for name in self.names("keys"):
            data = self.read(name)
            need(hashlib.sha256(data[:-32]).digest() == data[-32:], name + ": damaged")
            d = Decoder(data[:-32], name)
            d.fixed(b"SRKEYS\0\1")
            kind, _, wrapped = d.string(), d.string(), d.bytes()
            d.end()
            plain = secret.open(wrapped) if kind == secret.kind else None
            if plain is not None:
                need(len(plain) == 108 and plain[:8] == b"SRRECOV\1" and plain[8:44].decode() == vault, name + ": no keys of this vault")
                return plain[44:76], plain[76:]
        raise Refused("no envelope of the vault opens with this secret")

    def journal(self):
        """What the journal says of each recovery point: (forgotten, changed, until, locked)."""
        entries = {}
        for name in self.names("journal"):
            m = re.fullmatch(r"journal/(\d{16})(-checkpoint)?", name)
            need(m, name + ": no journal entry has this name")
            entries[int(m[1])] = (name, bool(m[2]))
        start = max((n for n, (_, checkpoint) in entries.items() if checkpoint), default=0)
        points, previous = {}, bytes(32)
        for number in range(start, max(entries, default=-1) + 1):
            need(number in entries, f"journal: entry {number} is missing")
            name, checkpoint = entries[number]
            data = self.read(name)
            d = Decoder(self.keys.untag(name, data), name)
            d.fixed(b"SRJRNL\0\1")
            need(d.uint() == number, name + ": wrong number")
            need(d.raw(32) == previous or checkpoint and number == start, name + ": does not continue the entry before")
            kind, _ = d.uint(8), d.time()
            need((kind == 4) == checkpoint, name + ": wrong kind")
            if kind == 4:
                points = {}
                for rp in ascending(d, d.string):
                    forgotten = d.bool()
                    if forgotten:
                        d.time()
                    points[rp] = (forgotten, d.bool(), d.time(), d.bool())
            if kind in (4, 5, 6):  # the trash is the concern of who deletes: packs in it are read like others
                for _ in ascending(d, lambda: d.raw(16)):
                    need(kind == 6 or d.u8() in (1, 2), name + ": malformed trash")
                    if kind == 4:
                        d.time()
            elif kind == 8:
                several = list(ascending(d, d.string))
                need(len(several) > 1, name + ": too few recovery points")
                for rp in several:
                    points.setdefault(rp, (False, False, None, False))
            else:
                rp = d.string()
                forgotten, changed, until, locked = points.get(rp, (False, False, None, False))
                if kind == 3:
                    changed, until, locked = True, d.time(), d.bool()
                points[rp] = (kind == 2 or forgotten and kind != 7, changed, until, locked)
            d.end()
            previous = hashlib.sha256(data).digest()
        return points

    def record(self, rp):
        name = "rps/" + rp
        d = Decoder(self.keys.untag(name, self.read(name)), name)
        d.fixed(b"SRPOINT\1")
        need(d.string() == rp, name + ": belongs elsewhere")
        out = {"id": rp, "committed": d.time(), "retain_until": d.time(), "locked": d.bool(), "attempt": d.raw(16).hex()}
        salt, aad = d.raw(32), d.data[:d.at]
        sealed = d.bytes()
        d.end()
        try:
            plain = AESGCM(self.keys.derive(self.keys.krec, b"record " + name.encode(), salt)).decrypt(bytes(12), sealed, aad)
        except InvalidTag:
            raise Damaged(name + ": does not authenticate") from None
        d = Decoder(plain, name)
        for field in ("owner", "resource", "arn", "type"):
            out[field] = d.string()
        out["created"] = d.time()
        out["labels"] = {k.decode("utf-8", "surrogateescape"): d.string() for k in ascending(d, d.bytes)}
        out["root"] = d.raw(32).hex()
        counters = ("entries", "files", "logical", "read", "new", "stored", "unchanged", "new_chunks", "chunks")
        out["stats"] = {c: d.uint() for c in counters}
        out["problem_count"] = d.uint()
        out["problems"] = [[chars(d.bytes()), chars(d.bytes())] for _ in range(d.uint(1000))]
        d.end()
        return out

    def points(self):
        """The recovery points that exist, retention as the journal left it, and what is wrong with others."""
        journal, found, findings = self.journal(), [], []
        there = {n.removeprefix("rps/") for n in self.names("rps")}
        for rp in sorted(there | set(journal)):
            forgotten, changed, until, locked = journal.get(rp, (False, False, None, False))
            if forgotten:
                continue
            try:
                need(rp in there, f"rps/{rp}: the commit record is missing")
                r = self.record(rp)
            except Damaged as e:
                findings.append(str(e))
                continue
            if changed and r["locked"]:
                r["retain_until"] = None if None in (until, r["retain_until"]) else max(until, r["retain_until"])
            elif changed:
                r["retain_until"], r["locked"] = until, locked
            found.append(r)
        return found, findings

    def references(self, record):
        """What a recovery point needs: pack id → (frames of the pack, set of frame numbers)."""
        rp, best = record["id"], None
        for name in self.names("refs/" + rp):
            m = re.fullmatch(r"refs/.*/([0-9a-f]{32})-([0-9a-f]{8,16})", name)
            if m and m[1] == record["attempt"]:
                best = max(best or (0, ""), (int(m[2], 16), name))
        need(best, f"refs/{rp}: the reference set is missing")
        return self.reference_set(rp, bytes.fromhex(record["attempt"]), best[0])

    def reference_set(self, rp, attempt, generation, depth=None):
        name = f"refs/{rp}/{attempt.hex()}-{generation:08x}"
        try:
            d = Decoder(self.keys.untag(name, self.read(name)), name)
        except FileNotFoundError:
            raise Damaged(name + ": the reference set is missing") from None
        d.fixed(b"SRREFS\0\1")
        need(d.string() == rp and d.raw(16) == attempt and d.uint() == generation, name + ": belongs elsewhere")
        mine = d.uint(15)
        need(depth in (None, mine), name + ": another depth than the set that builds on it says")
        self.deepest = max(self.deepest, mine)
        out = self.reference_set(d.string(), d.raw(16), d.uint(), mine - 1) if mine else {}
        for pack in ascending(d, lambda: d.raw(16)):
            frames = d.uint(65535)
            bits = (1 << frames) - 1
            if d.uint(1):
                bits = int.from_bytes(d.raw((frames + 7) // 8), "little")
            need(bits >> frames == 0 and out.get(pack, (frames,))[0] == frames, name + ": a frame that does not exist")
            out[pack] = frames, out.get(pack, (0, set()))[1] | {i for i in range(frames) if bits >> i & 1}
        d.end()
        return out

    def pack_names(self):
        return [n for prefix in CLASSES for n in self.names(prefix)]

    def pack(self, name):
        if name not in self.opened:
            try:
                self.opened[name] = Pack(self.keys, os.path.join(self.path, os.fsencode(name)), name)
            except FileNotFoundError:
                raise Damaged(name + ": the pack is missing") from None
        return self.opened[name]

    def pack_name(self, cls, ident):
        return f"{'packs' if cls == 1 else 'mpacks'}/{ident.hex()[:2]}/{ident.hex()}"

    def segment(self, name):
        """One index segment: its pack table, the segments it replaces, the packs it drops, its pairs."""
        data, ident = self.read(name), bytes.fromhex(name.removeprefix("index/"))
        need(len(data) >= 128, name + ": too short")
        foot = Decoder(data[-128:], name)
        foot.fixed(b"SRINDX\0\1")
        pairs, packs, replaced, filter_len = struct.unpack("<QIIQ", foot.raw(24))
        foot.fixed(self.keys.vault)
        sequence, dropped = struct.unpack("<QI", foot.raw(12))
        foot.fixed(bytes(36))
        blocks = -(-pairs // 170)
        meta = Decoder(data[4096 * blocks:-128], name)
        need(hmac.compare_digest(self.keys.tag(name, data[-128:-32], meta.data), data[-32:]), name + ": the tag is wrong")
        table = []
        for _ in range(packs):
            pid, cls, z1, z2, z3, frames, size, at, length, zero = struct.unpack("<16sBBBBIQQII", meta.raw(48))
            need(cls in (1, 2) and not z1 | z2 | z3 | zero, name + ": impossible pack")
            table.append((self.pack_name(cls, pid), frames, size, at, length))
        gone = ["index/" + meta.raw(16).hex() for _ in range(replaced)]
        drops = {pid: at for pid, at in (struct.unpack("<16sQ", meta.raw(24)) for _ in range(dropped))}
        fences, bloom, found = meta.raw(4 * blocks), meta.raw(filter_len), []
        meta.end()
        for b in range(blocks):
            block = data[4096 * b:4096 * (b + 1)]
            need(mac(self.keys.mblock, ident, struct.pack("<I", b), block[:4080])[:16] == block[4080:], f"{name}: block {b} has a wrong tag")
            n = min(170, pairs - 170 * b)
            need(block[:4] == fences[4 * b:4 * b + 4] and not any(block[24 * n:4080]), f"{name}: block {b} is malformed")
            found += struct.iter_unpack("<16sII", block[:24 * n])
        for short, p, frame in found:
            need(p < packs and frame < table[p][1], name + ": a pair names nothing")
            need(in_filter(bloom, short), name + ": the filter does not know a chunk")
        need(all(a[0] <= b[0] for a, b in zip(found, found[1:])), name + ": pairs out of order")
        return sequence, table, gone, drops, [(short, table[p][0], frame) for short, p, frame in found]

    def index(self):
        """What counts of the index: lines about packs, pairs, and damage. That of a replaced segment does not matter."""
        good, bad, gone, drops = {}, {}, set(), {}
        for name in self.names("index"):
            try:
                good[name] = self.segment(name)
                gone |= set(good[name][2])
            except Damaged as e:
                bad[name] = str(e)
        live = [s for n, s in good.items() if n not in gone]
        for _, _, _, dropped, _ in live:
            for pid, at in dropped.items():
                drops[pid.hex()] = max(at, drops.get(pid.hex(), 0))
        table, pairs = [], []
        for sequence, packs, _, _, found in live:
            table += [p for p in packs if sequence >= drops.get(p[0][-32:], 0)]
            pairs += [p for p in found if sequence >= drops.get(p[1][-32:], 0)]
        return table, pairs, [e for n, e in bad.items() if n not in gone]

    def places(self):
        """Where chunks are: short id → list of (pack's name, frame)."""
        if self.where is None:
            self.where = {}
            if self.use_index:
                _, pairs, damage = self.index()
                need(not damage, "; ".join(damage))
            else:
                pairs = [(self.keys.cid(f.kind, f.digest)[:16], n, i) for n in self.pack_names() for i, f in enumerate(self.pack(n).frames)]
            for short, name, frame in pairs:
                self.where.setdefault(short, []).append((name, frame))
        return self.where

    def chunk(self, kind, digest):
        """A chunk's content, from any place that is sound."""
        if (kind, digest) in self.recent:
            return self.recent[kind, digest]
        reasons = []
        for name, number in self.places().get(self.keys.cid(kind, digest)[:16], []):
            try:
                frames = self.pack(name).frames
                need(number < len(frames) and (frames[number].kind, frames[number].digest) == (kind, digest), name + ": holds another chunk there")
                if len(self.recent) >= 8:
                    self.recent.pop(next(iter(self.recent)))
                return self.recent.setdefault((kind, digest), self.pack(name).content(frames[number]))
            except Damaged as e:
                reasons.append(str(e))
        raise Damaged(f"chunk of kind {kind} {digest.hex()}: " + ("; ".join(reasons) or "it is nowhere"))

    def entries(self, root, seen=None, level=None, first=b""):
        """All entries below a page in tree order; seen notes every chunk that is read or named."""
        data = self.chunk(2, root)
        if seen is not None:
            seen.add((2, root))
        d = Decoder(data, "page " + root.hex())
        d.fixed(b"\1")
        at = d.uint(12)
        need(level in (None, at) and len(data) <= 4 << 20, d.what + ": stands in the wrong place")
        path, lines = None, d.uint()
        need(lines > 0, d.what + ": empty")
        for _ in range(lines):
            shared, rest = d.uint(), d.bytes()
            before, path = path, (path or b"")[:shared] + rest
            if before is None:
                need(shared == 0 and path == first, d.what + ": begins with another path")
            else:
                need(order(before) < order(path) and shared == len(os.path.commonprefix([before, path])), d.what + ": paths out of order")
            if at > 0:
                digest, count, size = d.raw(32), d.uint(), d.uint()
                n = total = 0
                for e in self.entries(digest, seen, at - 1, path):
                    n, total = n + 1, total + e.stored
                    yield e
                need((n, total) == (count, size), f"page {digest.hex()}: holds other than what the page above says")
            else:
                yield Entry(d, path)
        d.end()

    def refs_of(self, entry, seen=None):
        """The parts of an entry's content in order: (digest of a data chunk, offset in it, length)."""
        kind, value = entry.content
        if kind == SLICE:
            yield value
        elif kind in (CHUNKS, LISTS):
            depth, lines = value
            yield from self.leaves(depth, lines, seen)

    def leaves(self, depth, lines, seen):
        for digest, size in lines:
            if depth == 0:
                yield digest, 0, size
                continue
            if seen is not None:
                seen.add((3, digest))
            d = Decoder(self.chunk(3, digest), "list " + digest.hex())
            d.fixed(bytes([1, depth - 1]))
            below = chunk_lines(d)
            d.end()
            need(sum(s for _, s in below) == size, d.what + ": has another size")
            yield from self.leaves(depth - 1, below, seen)

    def check_parts(self, entry):
        """That the parts of an entry's content are in their chunks, without reading them."""
        for digest, offset, length in self.refs_of(entry):
            sizes = [self.pack(n).frames[i].size for n, i in self.places().get(self.keys.cid(1, digest)[:16], [])]
            fits = [length <= size - offset if entry.content[0] == SLICE else length == size for size in sizes]
            need(any(fits), f"{entry.path!r}: a part is not in its chunk")

    def content(self, entry):
        """The entry's content piece by piece."""
        kind, value = entry.content
        if kind == INLINE:
            yield value
        for digest, offset, length in self.refs_of(entry):
            data = self.chunk(1, digest)
            need(offset + length <= len(data) and (kind == SLICE or length == len(data)), f"{entry.path!r}: a part is not in its chunk")
            yield data[offset:offset + length]


def in_filter(bloom, short):
    line = 64 * (int.from_bytes(short[:8], "big") * (len(bloom) // 64) >> 64)
    x = int.from_bytes(short[8:], "little")
    bits = [x >> 9 * i & 511 for i in range(7)]
    return bool(bloom) and all(bloom[line + b // 8] >> b % 8 & 1 for b in bits)


def order(path):
    return path.replace(b"/", b"\0")  # no path holds a NUL


def chunk_lines(d):
    return [(d.raw(32), d.uint()) for _ in range(d.uint())]


NONE, INLINE, SLICE, CHUNKS, LISTS = range(5)
TYPES = (None, "directory", "file", "symlink", "fifo", "socket", "character device", "block device")


class Entry:
    def __init__(self, d, path):
        flags, self.path = d.uint((1 << 15) - 1), path
        need(valid_path(path) and not flags >> 9 & 7, f"{d.what}: impossible entry {path!r}")
        self.type = TYPES[d.u8()]
        self.mode, self.uid, self.gid, self.mtime = d.uint(0o7777), d.uint(2**32 - 1), d.uint(2**32 - 1), d.int()
        self.ctime, self.nlink, self.dev, self.ino = self.mtime + d.int(), d.uint(2**32 - 1), d.uint(), d.uint()

        def optional(bit, read, default):
            value = read() if flags >> bit & 1 else default
            need(flags >> bit & 1 == 0 or value or bit == 7, f"{d.what}: an empty field of {path!r}")
            return value

        self.user, self.group = optional(0, d.bytes, b""), optional(1, d.bytes, b"")
        self.size, self.rdev = optional(2, d.uint, 0), optional(3, d.uint, 0)
        self.link, self.hardlink = optional(4, d.bytes, b""), optional(5, d.bytes, b"")
        self.xattrs = optional(6, lambda: [(d.bytes(), d.bytes()) for _ in range(d.uint())], [])
        extents = optional(7, lambda: [(d.uint(), d.uint()) for _ in range(d.uint())], None)
        self.problem = optional(8, d.bytes, b"")
        self.extents = [(0, self.size)] if extents is None else []
        for gap, length in extents or []:
            start = sum(self.extents[-1]) if self.extents else 0
            self.extents.append((start + gap, length))
            need(length > 0 and start + gap + length <= self.size, f"{d.what}: impossible extents of {path!r}")
        self.sparse, kind = extents is not None, flags >> 12
        if kind == INLINE:
            value = d.bytes()
            self.stored = len(value)
            need(1 <= len(value) <= 128, f"{d.what}: impossible content of {path!r}")
        elif kind == SLICE:
            value = (d.raw(32), d.uint(2**32 - 1), d.uint())
            self.stored = value[2]
        elif kind in (CHUNKS, LISTS):
            value = (d.u8() if kind == LISTS else 0, chunk_lines(d))
            need(value[1] and (kind == CHUNKS or 1 <= value[0] <= 8), f"{d.what}: impossible content of {path!r}")
            self.stored = sum(size for _, size in value[1])
        else:
            value, self.stored = None, 0
            need(kind == NONE, f"{d.what}: unknown content of {path!r}")
        self.content = kind, value
        need(kind == NONE or self.type == "file" and not self.hardlink, f"{d.what}: {path!r} has content but may have none")
        need(self.type != "file" or self.hardlink or self.problem or self.stored == sum(n for _, n in self.extents),
             f"{d.what}: the content of {path!r} has another length than its size says")

    def describe(self):
        out = {k: getattr(self, k) for k in ("type", "mode", "uid", "gid", "mtime", "ctime", "nlink", "dev", "ino", "size", "rdev")}
        out |= {k: chars(getattr(self, k)) for k in ("path", "user", "group", "link", "hardlink", "problem")}
        out["xattrs"] = [[chars(k), v.hex()] for k, v in self.xattrs] or None
        out["extents"] = self.extents if self.sparse else None
        return out


def chars(name):
    return name.decode("latin-1")  # names are bytes: each is shown as the character of the same number


def valid_path(path):
    return path == b"" or b"\0" not in path and not set(path.split(b"/")) & {b"", b".", b".."}


# ----------------------------------------------------------------------------------------------------------- the commands

def list_points(vault):
    return {"vault": vault.descriptor} | dict(zip(("recovery_points", "findings"), vault.points()))


def verify(vault):
    """Everything: packs, index against packs, and every recovery point against what its reference set says is needed."""
    points, findings = vault.points()
    known = {}  # id of a pack → (its name, its frames)
    for name in vault.pack_names():
        try:
            p = vault.pack(name)
            known[p.id] = name, [(f.kind, f.digest) for f in p.frames]
            p.verify()
        except Damaged as e:
            findings.append(str(e))
    listed = set()
    if vault.use_index:
        table, pairs, damage = vault.index()
        findings += damage
        for pack, frames, size, at, length in table:
            try:
                p = vault.pack(pack)
                need((frames, size, at, length) == (len(p.frames), len(p.data), p.footer_at, p.footer_len), f"{pack}: the index contradicts it")
            except (Damaged, AttributeError) as e:
                findings.append(str(e))
        for short, pack, frame in pairs:
            f = known.get(bytes.fromhex(pack[-32:]), ("", []))[1][frame:frame + 1]
            if not f or vault.keys.cid(*f[0])[:16] != short:
                findings.append(f"{pack}: frame {frame} does not hold the chunk that the index says")
            listed.add((pack, frame))
    for r in points:
        try:
            verify_point(vault, r, known, listed)
        except Damaged as e:
            findings.append(f"recovery point {r['id']}: {e}")
    moved = sum(f.origin is not None for p in vault.opened.values() for f in p.frames)
    return {"recovery_points": points, "moved": moved, "depth": vault.deepest, "packs": len(known), "frames": sum(len(f) for _, f in known.values()),
            "pairs": len(listed), "findings": findings}


def verify_point(vault, record, known, listed):
    have = set()
    for ident, (frames, numbers) in vault.references(record).items():
        need(ident in known, f"its reference set names the pack {ident.hex()}, which is not there")
        name, inside = known[ident]
        need(len(inside) == frames, f"its reference set says that {name} has {frames} frames")
        have |= {inside[i] for i in numbers}
        need(not vault.use_index or all((name, i) in listed for i in numbers), f"the index does not list what it needs of {name}")
    needed, entries, files, size = set(), 0, 0, 0
    for e in vault.entries(bytes.fromhex(record["root"]), needed):
        entries += 1
        if e.type == "file" and not e.hardlink:
            files, size = files + 1, size + e.stored
        needed |= {(1, digest) for digest, _, _ in vault.refs_of(e, needed)}
        vault.check_parts(e)
    need(needed <= have, f"its reference set lacks {len(needed - have)} chunks that it needs")
    need((entries, files, size) == tuple(record["stats"][k] for k in ("entries", "files", "logical")), "its counters are wrong")


def find_point(vault, rp):
    for r in vault.points()[0]:
        if r["id"] == rp:
            return r
    raise Refused("there is no recovery point " + rp)


def show(vault, *wanted):
    """Every entry of the recovery points (of all, if none is named) with the SHA-256 of its content."""
    out = {}
    for record in [find_point(vault, rp) for rp in wanted] or vault.points()[0]:
        out[record["id"]] = lines = []
        for e in vault.entries(bytes.fromhex(record["root"])):
            lines.append(e.describe())
            if e.type == "file" and not e.hardlink:
                h = hashlib.sha256()
                for piece in vault.content(e):
                    h.update(piece)
                lines[-1]["sha256"] = h.hexdigest()
    return {"entries": out, "findings": []}


def extract(vault, rp, target):
    """A recovery point into a new directory. Owners, devices and set-id bits are left out and named."""
    record = find_point(vault, rp)
    target, left, directories, files = os.fsencode(target), [], {}, 0
    if os.path.lexists(target):
        raise Refused("the target exists")
    for e in vault.entries(bytes.fromhex(record["root"])):
        # Only below directories made here: no link of the recovery point is ever followed.
        need(e.path == b"" or os.path.dirname(e.path) in directories, f"{e.path!r} is in no directory")
        path = os.path.join(target, e.path) if e.path else target
        if e.problem:
            left.append([chars(e.path), chars(e.problem)])
            if e.type == "file" and not e.hardlink and not e.stored and e.extents not in ([], [(0, 0)]):
                continue  # an empty file in its place would look like a copy
        if e.type == "directory":
            os.mkdir(path, 0o700)
            directories[e.path] = e
        elif e.hardlink:
            os.link(os.path.join(target, e.hardlink), path, follow_symlinks=False)
        elif e.type == "file":
            write_file(vault, e, path)
            files += 1
        elif e.type == "symlink":
            os.symlink(e.link, path)
        elif e.type == "fifo":
            os.mkfifo(path, 0o600)
        elif e.type == "socket":
            os.mknod(path, 0o600 | stat.S_IFSOCK)
        else:
            left.append([chars(e.path), f"a {e.type} is not made"])
            continue
        if e.type != "directory" and not e.hardlink:
            left += metadata(e, path)
    for e in reversed(directories.values()):  # what is inside a directory changes its times
        left += metadata(e, os.path.join(target, e.path) if e.path else target)
    return {"extracted": rp, "files": files, "left_out": left, "findings": []}


def write_file(vault, entry, path):
    with open(path, "xb") as f:
        os.chmod(f.fileno(), 0o600)
        pieces, piece = vault.content(entry), b""
        for start, length in entry.extents if entry.stored else []:
            f.seek(start)
            while length:
                piece = piece or next(pieces)
                f.write(piece[:length])
                length, piece = max(0, length - len(piece)), piece[length:]
        f.truncate(entry.size)


def metadata(entry, path):
    left = []
    for name, value in entry.xattrs:
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as e:
            left.append([chars(entry.path), f"attribute {chars(name)}: {e.strerror}"])
    if entry.type != "symlink":
        if entry.mode & 0o6000:
            left.append([chars(entry.path), "set-id bits are not set"])
        os.chmod(path, entry.mode & 0o1777)
    os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)
    return left


def main():
    parser = argparse.ArgumentParser(description="Reads vaults of format version 1.")
    parser.add_argument("command", choices=("list", "verify", "show", "extract"))
    parser.add_argument("vault")
    parser.add_argument("arguments", nargs="*")
    group = parser.add_mutually_exclusive_group(required=True)
    for option in ("--passphrase-file", "--identity-file"):
        group.add_argument(option)
    parser.add_argument("--no-index", action="store_true")
    o = parser.parse_intermixed_args()
    with open(o.passphrase_file or o.identity_file, "rb") as f:
        text = f.read()
    if o.passphrase_file:
        secret = age.Passphrase(text.rstrip(b"\r\n"))
    else:
        secret = age.Identity(text.decode())
    command = {"list": list_points, "verify": verify, "show": show, "extract": extract}[o.command]
    try:
        result = command(Vault(o.vault, secret, not o.no_index), *o.arguments)
    except Refused as e:
        print(f"reader.py: {e}", file=sys.stderr)
        return 2
    except (Damaged, ValueError, IndexError, struct.error) as e:
        result = {"findings": [str(e)]}
    json.dump(result, sys.stdout, indent=1, default=str)
    print()
    return 1 if result["findings"] or result.get("left_out") else 0


if __name__ == "__main__":
    sys.exit(main())
