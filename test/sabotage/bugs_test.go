package sabotage

// bugs is what is planted. The first is also planted every day: it must be cheap to compile and to catch.
var bugs = []bug{
	{
		name:  "a tag does not bind an object's name",
		edits: []edit{{"internal/repo/seal/maint.go", "\th.Write([]byte(name))\n\tfor _, p := range parts {", "\tfor _, p := range parts {"}},
		pkg:   "internal/repo/seal", run: ".",
	},
	{
		name:  "the tag of an object is not compared",
		edits: []edit{{"internal/repo/seal/maint.go", "if Equal(m.Tag(name, body), data[len(body):]) {", "if Equal(data[len(body):], data[len(body):]) {"}},
		pkg:   "internal/repo/seal", run: ".",
	},
	{
		name:  "all nonces of a part are the same",
		edits: []edit{{"internal/repo/seal/seal.go", "binary.LittleEndian.PutUint32(b[8:], n)", "binary.LittleEndian.PutUint32(b[8:], 0*n)"}},
		pkg:   "internal/repo/seal", run: ".",
	},
	{
		name: "what a part of a pack is said to be is not authenticated",
		edits: []edit{
			{"internal/repo/seal/seal.go", "return k.aead.Seal(dst, b[:], plain, aad)", "return k.aead.Seal(dst, b[:], plain, aad[:0])"},
			{"internal/repo/seal/seal.go", "k.aead.Open(dst, b[:], sealed, aad)", "k.aead.Open(dst, b[:], sealed, aad[:0])"},
		},
		pkg: "internal/repo/seal", run: ".",
	},
	{
		name:  "the commitment to a pack's key is not checked",
		edits: []edit{{"internal/repo/pack/dir.go", " || !seal.Equal(key.Commit[:], h.commit[:])", ""}},
		pkg:   "internal/repo/pack", run: "^TestAPackThatCommitsToAnotherKeyIsRefused$",
	},
	{
		name:  "packs are not padded",
		edits: []edit{{"internal/repo/pack/writer.go", "info.Size = alignUp(padded(w.off + int64(len(f)) + seal.Overhead + endSize))", "info.Size = alignUp(w.off + int64(len(f)) + seal.Overhead + endSize)"}},
		pkg:   "internal/repo/pack", run: "^TestPacksHaveFewSizes$",
	},
	{
		name:  "a scrub does not compare the digest",
		edits: []edit{{"internal/repo/pack/scrub.go", "if sum != digest {", "if sum != digest && len(buf) == 0 {"}},
		pkg:   "internal/repo/pack", run: "^TestEveryPartOfAPackIsBoundToItsPlace$",
	},
	{
		name:  "the filter of an index forgets ids",
		edits: []edit{{"internal/repo/index/filter.go", "line[seed>>3&63] |= 1 << (seed & 7)", "line[seed>>3&31] |= 1 << (seed & 7)"}},
		pkg:   "internal/repo/index", run: "^TestTheFilterKnowsAllAndFewOthers$",
	},
	{
		name:  "blocks of an index are not authenticated",
		edits: []edit{{"internal/repo/index/segment.go", "if !seal.Equal(tag[:], block[perBlock*pairSize:]) {", "if !seal.Equal(tag[:], tag[:]) {"}},
		pkg:   "internal/repo/index", run: "^TestEveryFlippedByteOfASegmentIsNoticed$",
	},
	{
		name:  "a page may stand in another page's place",
		edits: []edit{{"internal/repo/manifest/read.go", "if level >= 0 && p.Level != level || begins != first {", "if level >= 0 && p.Level != level || begins != first && begins == \"\\x00\" {"}},
		pkg:   "internal/repo/manifest", run: ".",
	},
	{
		name:  "paths of a page may be in any order",
		edits: []edit{{"internal/repo/manifest/page.go", "(!tree.Less(last, s) || sharedPrefix(last, s) != shared)", "(!tree.Less(last, s) && len(s) > MaxPage || sharedPrefix(last, s) != shared)"}},
		pkg:   "internal/repo/manifest", run: ".",
	},
	{
		name:  "a file is published without a sync",
		edits: []edit{{"internal/blob/disk/writer.go", "if err := w.f.Sync(); err != nil {", "if err := error(nil); err != nil {"}},
		pkg:   "internal/repo", run: "^TestB03",
	},
	{
		name:  "a directory is not synced after a name was given",
		edits: []edit{{"internal/blob/disk/names.go", "r.err = n.s.syncDir(dir)", "r.err = nil"}},
		pkg:   "internal/repo", run: "^TestB03",
	},
	{
		name:  "a file that could not be written whole is published",
		edits: []edit{{"internal/blob/disk/writer.go", "\t\tif _, err := w.f.WriteAt(tail, off); err != nil {\n", "\t\tif _, err := w.f.WriteAt(tail, off); err != nil && off < 0 {\n"}},
		pkg:   "internal/repo", run: "^TestB05",
	},
	{
		name:  "the error of closing a file is ignored",
		edits: []edit{{"internal/durable/durable.go", "if cerr := f.Close(); err == nil {", "if cerr := f.Close(); err == nil && len(data) < 0 {"}},
		pkg:   "internal/durable", run: ".",
	},
	{
		name: "the commit record is written before the reference set",
		edits: []edit{
			{"internal/repo/commit.go", "\tif err := s.putRefs(ctx, rec, refs); err != nil {\n\t\treturn nil, err\n\t}\n", ""},
			{"internal/repo/commit.go", "\ts.r.v.records.put(rec)\n", "\ts.r.v.records.put(rec)\n\tif err := s.putRefs(ctx, rec, refs); err != nil {\n\t\treturn nil, err\n\t}\n"},
		},
		pkg: "internal/repo", run: "^(TestB03|TestAnyFailingOperation)",
	},
	{
		name:  "the chain of the journal is not checked",
		edits: []edit{{"internal/repo/journal.go", "if prev := d.Hash(); !first && prev != j.head {", "if prev := d.Hash(); !first && prev != j.head && seq == 0 {"}},
		pkg:   "internal/repo", run: "^TestAJournalEntryOfAnotherHistoryIsRefused$",
	},
	{
		name:  "the hash that a source announces is believed",
		edits: []edit{{"internal/repo/ingest.go", "if chunk.Sum(plain) != f.Hash {", "if len(plain) == 0 && chunk.Sum(plain) != f.Hash {"}},
		pkg:   "internal/repo", run: "^TestAFrameWithAWrongHashEndsTheSession$",
	},
	{
		name:  "a source may refer to anybody's chunks",
		edits: []edit{{"internal/repo/sink.go", "\t\t\tif scope.has(slot, frame) {\n", "\t\t\tif scope.has(slot, frame) || scope != nil {\n"}},
		pkg:   "internal/repo", run: "^TestIngestTakesWhatIsProvenAndNothingElse$",
	},
	{
		name:  "packs are condemned without a new epoch",
		edits: []edit{{"internal/repo/registry.go", "\tv.epoch++\n", "\tv.epoch += 0\n"}},
		pkg:   "internal/repo", run: "^(TestPruneLeaves|TestNoScheduleOfBackups)",
	},
	{
		name:  "packs go although an operation still needs them",
		edits: []edit{{"internal/repo/registry.go", "oldest = min(oldest, p.start)", "oldest = min(oldest, max(p.start, v.epoch))"}},
		pkg:   "internal/repo", run: "^(TestPruneLeaves|TestNoScheduleOfBackups)",
	},
	{
		name:  "reference sets that are needed are tidied away",
		edits: []edit{{"internal/repo/mark.go", "ok && !needed[k] {", "ok && (!needed[k] || k.generation == 0) {"}},
		pkg:   "internal/repo", run: "^TestPruneFreesWhatIsForgottenAndKeepsTheRest$",
	},
	{
		name:  "the retention of a locked recovery point can be shortened",
		edits: []edit{{"internal/repo/repository.go", "if was && (!locked || !later(retain, until).Equal(until)) {", "if was && !locked {"}},
		pkg:   "internal/repo", run: "^TestALockedRecoveryPointCanOnlyBeKeptLonger$",
	},
	{
		name:  "a locked recovery point can be forgotten before its date",
		edits: []edit{{"internal/repo/repository.go", "if locked && (retain.IsZero() || now.Before(retain)) {", "if locked && retain.IsZero() {"}},
		pkg:   "internal/repo", run: "^TestALockedRecoveryPointCanOnlyBeKeptLonger$",
	},
	{
		name:  "what is read is not compared with its hash",
		edits: []edit{{"internal/repo/fetch.go", "\tif chunk.Sum(plain) != f.Hash {\n", "\tif len(plain) == 0 && chunk.Sum(plain) != f.Hash {\n"}},
		pkg:   "internal/repo", run: "^TestAChunkThatIsSealedAsAnotherIsNotRestored$",
	},
	{
		name:  "the index is believed about which chunk a frame holds",
		edits: []edit{{"internal/repo/fetch.go", "if f.Hash != h || f.Kind != kind {", "if f.Kind != kind {"}},
		pkg:   "internal/repo", run: "^TestAnIndexThatNamesTheWrongChunkIsNoticed$",
	},
	{
		name:  "a vault is opened that needs what nobody here knows",
		edits: []edit{{"internal/repo/feature.go", "return refuse(\"read\", n.read) }", "return nil }"}},
		pkg:   "internal/repo", run: "^TestWhatAVaultNeeds",
	},
	{
		name: "a restore follows symbolic links",
		edits: []edit{
			{"internal/resource/files/open.go", "unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | resolve,", "resolve,"},
			{"internal/resource/files/open.go", "uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),", "uint64(flags | unix.O_CLOEXEC),"},
		},
		pkg: "internal/resource/files", run: ".",
	},
}
