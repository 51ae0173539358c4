package pattern

import (
	"github.com/keyturn/keyturn/internal/amazon"
)

// AlarmChanges are the rules that pick, from the default bus of an account and Region, the changes of these alarms' states that people
// are notified of: to ALARM, and from there to OK. A new alarm's first OK is no news.
func AlarmChanges(alarms []string) []Rule {
	return fit("alarms", false, alarms, nil, func(names, _ []string) any {
		return alarmChange(object{"alarmName": names, "$or": []object{
			{"state": value(amazon.AlarmRaised)},
			{"state": value(amazon.AlarmResolved), "previousState": value(amazon.AlarmRaised)},
		}})
	})
}

// AlarmsBut is the rule that picks from the hub's bus every change of an alarm's state but of those named. A channel's own alarms do
// not go through the channel: what it cannot deliver would raise them again.
func AlarmsBut(alarms []string) Rule {
	return Rule{Name: "alarms", Pattern: encode(alarmChange(object{"alarmName": []object{{"anything-but": alarms}}}))}
}

// AlarmsOutside is the rule that picks from the hub's bus the changes of alarms in any other account or Region than these.
func AlarmsOutside(account, region string) Rule {
	pattern := alarmChange(nil)
	pattern["$or"] = []object{{"account": []object{{"anything-but": []string{account}}}}, {"region": []object{{"anything-but": []string{region}}}}}
	return Rule{Name: "alarms", Pattern: encode(pattern)}
}

func alarmChange(detail object) object {
	pattern := object{"source": []string{amazon.AlarmSource}, "detail-type": []string{amazon.AlarmDetailType}}
	if detail != nil {
		pattern["detail"] = detail
	}
	return pattern
}

func value(state string) object { return object{"value": []string{state}} }
