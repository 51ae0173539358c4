package deployment

import (
	"slices"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/infra/aws/pattern"
)

// Detection is what the deployment detects changes by, for the compliance checks to compare with what there is.
func (d Deployment) Detection() (made compliance.Detection) {
	for _, a := range d.Accounts {
		for _, region := range d.WatchedRegions(a) {
			in := compliance.RulesIn{Account: a.ID, Region: region, Target: d.busARN(), DeadLetters: []string{d.Of("forward-dead")}, Heartbeats: d.Heartbeats(a)}
			for _, r := range d.Rules(a, region) {
				in.Rules = append(in.Rules, detected(d.Of(r.Name), r))
			}
			made.Rules = append(made.Rules, in)
		}
	}
	made.Hub = compliance.RulesIn{Account: d.Hub.Account, Region: d.Hub.Region, Bus: d.Name}
	for _, function := range []string{AlertingEvent, RotationEvent} {
		made.Hub.DeadLetters = append(made.Hub.DeadLetters, d.Of(function+"-dead"))
		for _, r := range pattern.Selected(selections[function]) {
			rule := detected(d.Of(function+"-"+r.Name), r)
			rule.Target = "arn:aws:sqs:" + d.Hub.Region + ":" + d.Hub.Account + ":" + d.Of(function)
			made.Hub.Rules = append(made.Hub.Rules, rule)
		}
	}
	return made
}

func detected(name string, r pattern.Rule) compliance.Rule {
	return compliance.Rule{Name: name, Pattern: compliance.PatternHash(r.Pattern), ReadOnly: r.ReadOnly}
}

func (d Deployment) busARN() string {
	return "arn:aws:events:" + d.Hub.Region + ":" + d.Hub.Account + ":event-bus/" + d.Name
}

// HubRules are the ARNs of the rules of the hub's bus that [Deployment.Detection] names, as a pattern.
func (d Deployment) HubRules() string {
	return "arn:aws:events:" + d.Hub.Region + ":" + d.Hub.Account + ":rule/" + d.Name + "/" + d.Name + "-*"
}

// SpokeRules are the ARNs of the rules of the account where it has keys, as patterns.
func (d Deployment) SpokeRules(a Account) (arns []string) {
	for _, region := range d.keyRegions(a) {
		arns = append(arns, "arn:aws:events:"+region+":"+a.ID+":rule/"+d.Name+"-*")
	}
	return arns
}

// SpokeDeadLetters are the ARNs of the queues for what the account's rules could not deliver.
func (d Deployment) SpokeDeadLetters(a Account) (arns []string) {
	for _, region := range d.keyRegions(a) {
		arns = append(arns, "arn:aws:sqs:"+region+":"+a.ID+":"+d.Of("forward-dead"))
	}
	return arns
}

// keyRegions are the Regions of the account that have keys: the checks are about these.
func (d Deployment) keyRegions(a Account) (regions []string) {
	for _, key := range slices.Concat(a.Keys, a.Aliases) {
		regions = append(regions, key.Location())
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}
