package policy_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

// gen makes random policies and requests from a vocabulary that is small enough for matches to be common.
type gen struct {
	*rand.Rand
	kinds map[policy.Reason]int
}

func (g *gen) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *gen) often(percent int) bool { return g.IntN(100) < percent }

var (
	genActions   = []string{"backup:CopyIntoBackupVault", "backup:DeleteBackupVault", "kms:Decrypt", "kms:CreateGrant", "sts:AssumeRole", "iam:PassRole"}
	genResources = []string{"*", vaultARN, vaultB, keyARN, keyB, roleARN, "arn:aws:backup:us-east-1:111111111111:backup-vault:team-red", "arn:aws:ec2:us-east-1::snapshot/snap-1"}
	genValues    = []string{"red", "re*", "RED", "o-a1", "true", "false", "3600", "120.5", "10.1.2.3", "192.168.0.1", "2026-05-01T00:00:00Z", "2027-01-01T12:00:00Z", vaultB, roleARN, "é", ""}
	genKeys      = []string{"aws:PrincipalTag/team", "aws:ResourceTag/team", "aws:TagKeys", "aws:PrincipalOrgPaths", "backup:CopyTargets", "aws:SourceIp", "aws:CurrentTime", "aws:MultiFactorAuthAge", "aws:SecureTransport", "aws:PrincipalArn", "AWS:principaltag/TEAM"}
	genPeople    = []access.Principal{user, role, root, service, linked}
)

// list writes one or several values as JSON.
func (g *gen) list(one func() string) string {
	n := 1 + g.IntN(3)
	if n == 1 && g.often(70) {
		return one()
	}
	vals := make([]string, n)
	for i := range vals {
		vals[i] = one()
	}
	return "[" + strings.Join(vals, ",") + "]"
}

func (g *gen) action(k policy.Kind) string {
	pool := []string{"backup:*", "kms:*", "*:D*", "backup:CopyInto*", "BACKUP:deletebackupvault", "kms:?ecrypt", "*"}
	switch k {
	case policy.ResourceVault:
		pool = genActions[:2]
	case policy.TrustPolicy:
		pool = []string{"sts:AssumeRole", "sts:*", "sts:TagSession"}
	case policy.RCP:
		pool = []string{"kms:*", "sts:AssumeRole"}
	default:
		pool = append(pool, genActions...)
	}
	return quoted(pool[g.IntN(len(pool))])
}

func quoted(s string) string { return strconv.Quote(s) }

func (g *gen) resourcePattern() string {
	if g.often(45) {
		return quoted("*")
	}
	pool := []string{"arn:aws:backup:*:*:*", "arn:aws:backup:us-east-1:111111111111:backup-vault:*", "arn:*:kms:*:?11111111111:key/*", "arn:aws:backup:*:*:backup-vault:team-${aws:PrincipalTag/team}",
		"arn:aws:backup:*:*:backup-vault:${aws:PrincipalTag/team}*", "arn:aws:backup:*:backup-vault:*:*", "arn:aws:ec2:*:*:snapshot/*", "arn:aws:iam::*:role/${*}", "arn:aws:iam::*:role/ops/*"}
	return quoted(append(pool, genResources...)[g.IntN(len(pool)+len(genResources))])
}

func (g *gen) principalJSON() string {
	if g.often(25) {
		return quoted("*")
	}
	aws := func() string {
		return quoted(g.pick("*", acctA, acctB, "arn:aws:iam::111111111111:root", user.ARN, role.ARN, role.RoleARN, linked.RoleARN, root.ARN))
	}
	if g.often(25) {
		return `{"Service":` + g.list(func() string { return quoted(g.pick("backup.amazonaws.com", "ec2.amazonaws.com")) }) + `,"AWS":` + aws() + `}`
	}
	return `{"AWS":` + g.list(aws) + `}`
}

// condition writes one operator with one key. Values suit the operator, as Parse demands.
func (g *gen) condition() string {
	key := g.pick(genKeys...)
	text := func() string {
		return quoted(g.pick(append([]string{"${aws:PrincipalTag/team}", "r*", "?ed", "${*}", "x${aws:TagKeys}", "${aws:ResourceTag/team}"}, genValues...)...))
	}
	ops := map[string]func() string{
		"String":  text,
		"Numeric": func() string { return g.pick(`3600`, `"120.5"`, `0`, `"3601"`) },
		"Date":    func() string { return quoted(g.pick("2026-05-01T00:00:00Z", "2026-12-01T00:00:00Z")) },
		"Bool":    func() string { return g.pick(`true`, `"false"`, `"TRUE"`) },
		"Ip":      func() string { return quoted(g.pick("10.0.0.0/8", "192.168.0.1/32")) },
		"Arn": func() string {
			return quoted(g.pick("*", "arn:aws:iam::*:role/*", "arn:aws:backup:*:*:backup-vault:*", vaultB, roleARN))
		},
	}
	family := g.pick("String", "String", "String", "Numeric", "Date", "Bool", "Ip", "Arn", "Null")
	if family == "Null" {
		return `"Null":{` + quoted(key) + `:` + g.pick(`"true"`, `false`) + `}`
	}
	name := family
	switch family {
	case "String":
		name += g.pick("Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike")
	case "Numeric", "Date":
		name += g.pick("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
	case "Ip":
		name = g.pick("IpAddress", "NotIpAddress")
	case "Arn":
		name += g.pick("Equals", "NotEquals", "Like", "NotLike")
	}
	name = g.pick("", "", "ForAllValues:", "ForAnyValue:") + name + g.pick("", "", "IfExists")
	return quoted(name) + `:{` + quoted(key) + `:` + g.list(ops[family]) + `}`
}

func (g *gen) statement(k policy.Kind) string {
	effect := "Allow"
	if k == policy.RCP || g.often(22) {
		effect = "Deny"
	}
	var b strings.Builder
	b.WriteString(`{"Effect":` + quoted(effect))
	switch k {
	case policy.RCP:
		b.WriteString(`,"Principal":"*"`)
	case policy.ResourceVault, policy.KeyPolicy, policy.TrustPolicy:
		name := `,"Principal":`
		if effect == "Deny" && k != policy.TrustPolicy && g.often(40) {
			name = `,"NotPrincipal":`
		}
		who := g.principalJSON()
		for strings.Contains(name, "Not") && strings.Contains(who, `"*"`) {
			who = g.principalJSON()
		}
		b.WriteString(name + who)
	}
	name := "Action"
	if k != policy.ResourceVault && k != policy.TrustPolicy && k != policy.RCP && g.often(15) {
		name = "NotAction"
	}
	b.WriteString(`,"` + name + `":` + g.list(func() string { return g.action(k) }))
	if k != policy.TrustPolicy {
		b.WriteString(`,"` + g.pick("Resource", "Resource", "Resource", "Resource", "NotResource") + `":` + g.list(g.resourcePattern))
	}
	if g.often(40) {
		first := g.condition()
		b.WriteString(`,"Condition":{` + first)
		if second := g.condition(); g.often(30) && second[:strings.Index(second, ":{")] != first[:strings.Index(first, ":{")] {
			b.WriteString("," + second)
		}
		b.WriteString(`}`)
	}
	return b.String() + "}"
}

func (g *gen) document(k policy.Kind) string {
	n := 1 + g.IntN(3)
	st := make([]string, n)
	for i := range st {
		st[i] = g.statement(k)
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(st, ",") + `]}`
}

func (g *gen) sources(t testing.TB, k policy.Kind, n int) []policy.Source {
	out := []policy.Source{}
	for range n {
		text := g.document(k)
		d, err := policy.Parse(k, text)
		if err != nil {
			t.Fatalf("the generator made a document that is refused: %v\n%s", err, text)
		}
		out = append(out, policy.Source{Name: "p", Owner: acctA, Doc: d})
	}
	return out
}

func (g *gen) context() access.Context {
	c := access.Context{}
	for _, k := range genKeys[:10] {
		if g.often(45) {
			continue
		}
		c[k] = []string{g.pick(genValues...)}
		for g.often(20) {
			c[k] = append(c[k], g.pick(genValues...))
		}
	}
	if g.often(5) {
		c["aws:TagKeys"] = []string{}
	}
	return c
}

func (g *gen) request(t testing.TB) policy.Request {
	r := policy.Request{Principal: genPeople[g.IntN(len(genPeople))], Context: g.context()}
	r.Check = access.Check{Action: g.pick(genActions...), Resource: g.pick(genResources...)}
	r.ResourceAccount = g.pick(acctA, acctA, acctB)
	r.Identity = g.sources(t, policy.Identity, g.IntN(3))
	if g.often(20) {
		r.Boundary = g.sources(t, policy.Boundary, g.IntN(2))
	}
	if g.often(20) {
		r.Session = g.sources(t, policy.SessionPolicy, g.IntN(3))
	}
	if g.often(30) {
		for range 1 + g.IntN(3) {
			level := g.sources(t, policy.SCP, g.IntN(2))
			if g.often(75) {
				level = append(level, policy.Source{Name: "full", Doc: fullAccess})
			}
			r.SCPs = append(r.SCPs, level)
		}
	}
	if g.often(15) {
		r.RCPs = g.sources(t, policy.RCP, 1)
	}
	r.ResourceKind = policy.ResourceKind(g.IntN(4))
	if r.ResourceKind == policy.RoleTrust {
		r.Check.Action = "sts:AssumeRole"
	}
	if g.often(75) {
		k := [...]policy.Kind{policy.ResourceVault, policy.KeyPolicy, policy.TrustPolicy, policy.ResourceVault}[r.ResourceKind]
		r.Resource = &g.sources(t, k, 1)[0]
	}
	return r
}

var fullAccess = func() *policy.Document {
	d, err := policy.Parse(policy.SCP, doc(allowAll))
	if err != nil {
		panic(err)
	}
	return d
}()

// pairs is how many pairs a test draws; STRONGROOM_POLICY_PAIRS overrides it (the release bar is a million).
func pairs(t *testing.T, normal int) int {
	if s := os.Getenv("STRONGROOM_POLICY_PAIRS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return normal / 10
	}
	return normal
}

// TestAgreesWithReference compares the evaluator with the naive one over random pairs of policies and requests.
func TestAgreesWithReference(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	g := &gen{Rand: rand.New(rand.NewPCG(seed, 1)), kinds: map[policy.Reason]int{}}
	n := pairs(t, 100_000)
	// One set of policies is asked several questions: parsing is the expensive part.
	for i := 0; i < n; {
		r := g.request(t)
		for range 4 {
			d, want := policy.Evaluate(r), refEvaluate(r)
			if d.Reason != want || d.Allowed != (want == policy.Allow) {
				t.Fatalf("seed %d, pair %d: got %v, the reference says %v\n%s", seed, i, d.Reason, want, dump(r, d))
			}
			g.kinds[d.Reason]++
			i++
			r.Context, r.Principal = g.context(), genPeople[g.IntN(len(genPeople))]
			r.Check.Resource = g.pick(genResources...)
			if r.ResourceKind != policy.RoleTrust {
				r.Check.Action = g.pick(genActions...)
			}
		}
	}
	for reason, count := range g.kinds {
		if count < n/50 {
			t.Errorf("only %d of %d pairs were %v: the generator proves little", count, n, reason)
		}
	}
	t.Logf("seed %d: %v", seed, g.kinds)
}

func dump(r policy.Request, d policy.Decision) string {
	var b strings.Builder
	all := [][]policy.Source{r.Identity, r.Boundary, r.Session, r.RCPs}
	all = append(all, r.SCPs...)
	if r.Resource != nil {
		all = append(all, []policy.Source{*r.Resource})
	}
	for _, list := range all {
		for _, s := range list {
			b.WriteString(s.Doc.Kind().String() + ": " + s.Doc.Text() + "\n")
		}
	}
	for k, v := range r.Context {
		b.WriteString(k + " = " + strings.Join(v, " | ") + "\n")
	}
	return b.String() + "resource account " + r.ResourceAccount + ", kind " + strconv.Itoa(int(r.ResourceKind)) + "\n" + d.Explain()
}

// TestMonotonicity: a Deny more or an Allow less never allows more, and order does not matter.
func TestMonotonicity(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	g := &gen{Rand: rand.New(rand.NewPCG(seed, 2))}
	for i := range pairs(t, 20_000) {
		r := g.request(t)
		before := policy.Evaluate(r)

		more := r
		deny := g.statement(policy.Identity)
		deny = strings.Replace(deny, `"Effect":"Allow"`, `"Effect":"Deny"`, 1)
		more.Identity = append(append([]policy.Source{}, r.Identity...), policy.Source{Doc: parse(t, policy.Identity, `{"Version":"2012-10-17","Statement":`+deny+`}`)})
		if policy.Evaluate(more).Allowed && !before.Allowed {
			t.Fatalf("seed %d, %d: a Deny more allowed it: %s\n%s", seed, i, deny, dump(r, before))
		}

		less := r
		if len(r.Identity) > 0 {
			less.Identity = r.Identity[1:]
			if after := policy.Evaluate(less); after.Allowed && before.Reason == policy.ImplicitDeny {
				t.Fatalf("seed %d, %d: a policy less allowed it\n%s", seed, i, dump(r, before))
			}
		}

		mixed := r
		mixed.Identity = append([]policy.Source{}, r.Identity...)
		g.Shuffle(len(mixed.Identity), func(i, j int) { mixed.Identity[i], mixed.Identity[j] = mixed.Identity[j], mixed.Identity[i] })
		mixed.SCPs = append([][]policy.Source(nil), r.SCPs...)
		g.Shuffle(len(mixed.SCPs), func(i, j int) { mixed.SCPs[i], mixed.SCPs[j] = mixed.SCPs[j], mixed.SCPs[i] })
		if after := policy.Evaluate(mixed); after.Reason != before.Reason || after.Type != before.Type {
			t.Fatalf("seed %d, %d: order matters: %v, then %v\n%s", seed, i, before.Reason, after.Reason, dump(r, before))
		}

		if !before.Allowed && (before.Text() == "" || before.Missing() == "" || before.Explain() == "") {
			t.Fatalf("seed %d, %d: a denial without words\n%s", seed, i, dump(r, before))
		}
	}
}

// TestLacksAreEnough: adding every statement that a denial asks for makes the request allowed, unless it says that no
// statement helps.
func TestLacksAreEnough(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	g := &gen{Rand: rand.New(rand.NewPCG(seed, 3))}
	fixed := 0
	for i := range pairs(t, 20_000) {
		r := g.request(t)
		d := policy.Evaluate(r)
		if d.Reason != policy.ImplicitDeny {
			continue
		}
		after, ok := apply(t, r, d)
		if !ok {
			continue
		}
		fixed++
		if again := policy.Evaluate(after); !again.Allowed {
			t.Fatalf("seed %d, %d: the fix does not help\n%s\nafter: %s", seed, i, dump(r, d), again.Explain())
		}
	}
	if fixed == 0 {
		t.Error("no denial could be fixed")
	}
}

// apply adds the missing statements to the request's policies.
func apply(t *testing.T, r policy.Request, d policy.Decision) (policy.Request, bool) {
	for _, l := range d.Lacks {
		if l.Statement == "" {
			return r, false
		}
		text := `{"Version":"2012-10-17","Statement":` + l.Statement + `}`
		source := func(k policy.Kind) policy.Source { return policy.Source{Name: "fix", Doc: parse(t, k, text)} }
		switch l.Type {
		case policy.TypeIdentity:
			r.Identity = append(append([]policy.Source{}, r.Identity...), source(policy.Identity))
		case policy.TypeBoundary:
			r.Boundary = append(append([]policy.Source{}, r.Boundary...), source(policy.Boundary))
		case policy.TypeSCP:
			levels := append([][]policy.Source{}, r.SCPs...)
			for i := range levels {
				levels[i] = append(append([]policy.Source{}, levels[i]...), source(policy.SCP))
			}
			r.SCPs = levels
		default:
			if r.ResourceKind == policy.Ordinary && r.Resource == nil {
				return r, false // such a resource cannot have a policy; the evaluator does not tell
			}
			k := [...]policy.Kind{policy.KeyPolicy, policy.KeyPolicy, policy.TrustPolicy, policy.ResourceVault}[r.ResourceKind]
			old := ""
			if r.Resource != nil {
				old = r.Resource.Doc.Text()
				old = "," + old[strings.Index(old, "[")+1:len(old)-2]
			}
			s := policy.Source{Name: "fix", Doc: parse(t, k, `{"Version":"2012-10-17","Statement":[`+l.Statement+old+`]}`)}
			r.Resource = &s
		}
	}
	return r, true
}
