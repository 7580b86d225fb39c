package backup

import (
	"encoding/json"
	"regexp"
	"slices"

	"strongroom/internal/fault"
	"strongroom/internal/schedule"
)

const (
	maxRules     = 10
	maxCopies    = 5 // per rule
	maxPointTags = 10
)

// DefaultSchedule is the schedule of a rule that names none.
const DefaultSchedule = "cron(0 5 ? * * *)"

var planName = regexp.MustCompile(`^[a-zA-Z0-9\-_.]{1,50}$`)

// validPlan checks a document and fills in the defaults. What it changes it copies first.
func (s *Service) validPlan(region string, p Plan) (Plan, error) {
	if !planName.MatchString(p.Name) {
		return Plan{}, fault.New(fault.Invalid, "Invalid backup plan name %q: 1 to 50 letters, digits and characters of '-_.'.", p.Name)
	}
	if len(p.Rules) < 1 || len(p.Rules) > maxRules {
		return Plan{}, fault.New(fault.Invalid, "A backup plan must have from 1 to %d rules; this one has %d.", maxRules, len(p.Rules))
	}
	p.Rules = slices.Clone(p.Rules)
	names := map[string]bool{}
	for i := range p.Rules {
		r := &p.Rules[i]
		if names[r.Name] {
			return Plan{}, inRule(r.Name, fault.New(fault.Invalid, "Two rules of the plan have this name"))
		}
		names[r.Name] = true
		if err := s.validRule(region, r); err != nil {
			return Plan{}, inRule(r.Name, err)
		}
	}
	return p, validAdvanced(p.Advanced)
}

// inRule says in which rule of a plan a fault is, in AWS's form.
func inRule(rule string, err error) error {
	e := fault.As(err)
	if e == nil {
		return err
	}
	context, _ := json.Marshal([]string{rule, e.Msg})
	return fault.New(e.Kind, "Error in rule %s : %s", rule, e.Msg).WithCode("ERROR_3015").WithContext(string(context))
}

func (s *Service) validRule(region string, r *Rule) error {
	if !planName.MatchString(r.Name) {
		return fault.New(fault.Invalid, "Invalid rule name %q: 1 to 50 letters, digits and characters of '-_.'.", r.Name)
	}
	if !vaultName.MatchString(r.Vault) {
		return fault.New(fault.Invalid, "Invalid TargetBackupVaultName %q: 2 to 50 letters, digits, hyphens and underscores.", r.Vault)
	}
	if r.Schedule == "" {
		r.Schedule = DefaultSchedule
	}
	if r.Timezone == "" {
		r.Timezone = schedule.DefaultZone
	}
	if _, err := schedule.Zone(r.Timezone); err != nil {
		return fault.New(fault.Invalid, "Invalid ScheduleExpressionTimezone: %v", err)
	}
	e, err := schedule.Parse(r.Schedule, r.Timezone)
	if err != nil {
		return fault.New(fault.Invalid, "Invalid ScheduleExpression %q: %v", r.Schedule, err)
	}
	if e.FinerThanHour() {
		return fault.New(fault.Invalid, "Invalid ScheduleExpression %q: backups can run at most once an hour", r.Schedule)
	}
	if _, ok := e.Next(s.Clock.Now()); !ok {
		return fault.New(fault.Invalid, "Invalid ScheduleExpression %q: it never runs", r.Schedule)
	}
	if r.StartMinutes, r.CompleteMinutes, err = windows(r.StartMinutes, r.CompleteMinutes); err != nil {
		return err
	}
	if err := r.lifecycle().Validate(s.ColdMinimumDays[region]); err != nil {
		return err
	}
	if err := validPointTags(r.Tags); err != nil {
		return err
	}
	return s.validCopies(r.Copies)
}

// windows applies the defaults (for 0) and checks the limits of a job's windows.
func windows(start, complete int64) (int64, int64, error) {
	if start == 0 {
		start = schedule.DefaultStartMinutes
	}
	if complete == 0 {
		complete = max(schedule.DefaultCompleteMinutes, start+schedule.DefaultStartMinutes)
	}
	if start < schedule.MinStartMinutes || start > schedule.MaxStartMinutes {
		return 0, 0, fault.New(fault.Invalid, "Invalid StartWindowMinutes %d: it must be from %d to %d", start, schedule.MinStartMinutes, schedule.MaxStartMinutes)
	}
	if complete <= start || complete > 2*schedule.MaxStartMinutes {
		return 0, 0, fault.New(fault.Invalid, "Invalid completion window of %d minutes: it must be longer than the start window of %d minutes", complete, start)
	}
	return start, complete, nil
}

func validPointTags(tags map[string]string) error {
	if len(tags) > maxPointTags {
		return fault.New(fault.Invalid, "Too many recovery point tags: %d, the limit is %d", len(tags), maxPointTags)
	}
	return validTags(tags)
}

func (s *Service) validCopies(copies []CopyAction) error {
	if len(copies) > maxCopies {
		return fault.New(fault.Invalid, "Too many copy actions: %d, the limit is %d", len(copies), maxCopies)
	}
	for i, c := range copies {
		_, region, name, ok := ParseVaultARN(c.VaultARN)
		if !ok || !vaultName.MatchString(name) {
			return fault.New(fault.Invalid, "Invalid DestinationBackupVaultArn %q: it is not the ARN of a backup vault", c.VaultARN)
		}
		if slices.ContainsFunc(copies[:i], func(o CopyAction) bool { return o.VaultARN == c.VaultARN }) {
			return fault.New(fault.Invalid, "Two copy actions have the destination %s", c.VaultARN)
		}
		if c.Lifecycle != nil {
			if err := c.Lifecycle.ValidateCopy(s.ColdMinimumDays[region]); err != nil {
				return err
			}
		}
	}
	return nil
}

// advancedOptions are the options that AWS defines, by resource type.
var advancedOptions = map[string][]string{"EC2": {"WindowsVSS"}, "S3": {"BackupACLs", "BackupObjectTags"}}

func validAdvanced(settings []AdvancedSetting) error {
	for _, a := range settings {
		if err := validOptions(a.ResourceType, a.Options); err != nil {
			return err
		}
	}
	return nil
}

func validOptions(resourceType string, options map[string]string) error {
	known, ok := advancedOptions[resourceType]
	if !ok && len(options) > 0 {
		return fault.New(fault.Invalid, "Invalid advanced backup setting: there are no backup options for resource type %q.", resourceType)
	}
	for k, v := range options {
		if !slices.Contains(known, k) || v != "enabled" && v != "disabled" {
			return fault.New(fault.Invalid, "Invalid backup option %s=%s for resource type %s.", k, v, resourceType)
		}
	}
	return nil
}
