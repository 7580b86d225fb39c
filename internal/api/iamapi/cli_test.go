package iamapi_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"strongroom/internal/iam"
)

// The unmodified aws CLI reads our replies: it decodes policy documents, follows markers and signs with session tokens.
func TestTheRealCLI(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil || testing.Short() {
		t.Skip("needs the aws CLI")
	}
	n, root := newNode(t)
	cli := func(c creds, args ...string) map[string]any {
		t.Helper()
		cmd := exec.Command("aws", append([]string{"--endpoint-url", n.url, "--region", "us-east-1", "--output", "json"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+c.id, "AWS_SECRET_ACCESS_KEY="+c.secret, "AWS_SESSION_TOKEN="+c.token, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=")
		out, err := cmd.Output()
		if err != nil {
			if e, ok := err.(*exec.ExitError); ok {
				t.Fatalf("%v: %s", args, e.Stderr)
			}
			t.Fatal(err)
		}
		var v map[string]any
		if len(out) > 0 {
			n.ok(json.Unmarshal(out, &v))
		}
		return v
	}
	admin := n.user(root, "admin", iam.AdministratorAccess)
	n.ok(n.iam.CreateAccessRole(n.ctx, prod, "OrganizationAccountAccessRole", mgmt))
	c := cli(admin, "sts", "assume-role", "--role-arn", "arn:aws:iam::111111111111:role/OrganizationAccountAccessRole", "--role-session-name", "setup")["Credentials"].(map[string]any)
	inside := creds{c["AccessKeyId"].(string), c["SecretAccessKey"].(string), c["SessionToken"].(string)}
	role := cli(inside, "iam", "create-role", "--role-name", "AWSBackupServiceRole", "--assume-role-policy-document", byBackup)["Role"].(map[string]any)
	if trust, ok := role["AssumeRolePolicyDocument"].(map[string]any); !ok || trust["Version"] != "2012-10-17" {
		t.Errorf("trust %v", role["AssumeRolePolicyDocument"])
	}
	cli(inside, "iam", "attach-role-policy", "--role-name", "AWSBackupServiceRole", "--policy-arn", "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup")
	policies := cli(inside, "iam", "list-policies", "--page-size", "5")["Policies"].([]any)
	if len(policies) < 25 {
		t.Errorf("%d policies", len(policies))
	}
	v := cli(inside, "iam", "get-policy-version", "--policy-arn", "arn:aws:iam::aws:policy/ReadOnlyAccess", "--version-id", "v182")["PolicyVersion"].(map[string]any)
	if doc, ok := v["Document"].(map[string]any); !ok || doc["Statement"] == nil {
		t.Errorf("document %T", v["Document"])
	}
	if who := cli(inside, "sts", "get-caller-identity"); !strings.HasSuffix(who["Arn"].(string), ":assumed-role/OrganizationAccountAccessRole/setup") {
		t.Errorf("caller %v", who)
	}
	if sum := cli(inside, "iam", "get-account-summary")["SummaryMap"].(map[string]any); sum["Roles"] != 2.0 {
		t.Errorf("summary %v", sum)
	}
}
