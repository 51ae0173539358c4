package rotation

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
)

// Each test of rotation runs on both clouds, or is named after the cloud that it is about, or stands here.
func TestTwins_eachTestRunsOnBothClouds(t *testing.T) {
	const (
		none   = "no cloud's API or document takes part"
		mixed  = "both clouds are in one fleet"
		google = "about keys of Google Cloud: their versions have states, and their projects two names"
	)
	cmektest.CheckTwins(t, ".", []string{"onBothClouds", "onEachCloud"}, map[string]string{
		"pins_test.go":          "Google Cloud has no aliases of keys",
		"pins_fleet_test.go":    "Google Cloud has no aliases of keys",
		"undone_test.go":        "no cloud's API or document takes part",
		"writeback_test.go":     none + ", and half of the rows are about pins, which Google Cloud has none of",
		"mixed_fleet_test.go":   mixed,
		"set_back_test.go":      google,
		"projects_test.go":      google,
		"upgrade_test.go":       "items of a release that had AWS alone",
		"orders_fleet_test.go":  "TestOrders_moveAClusterOnGoogleCloud and TestPlan_listsWhatFollowSends are its twins",
		"preflight_test.go":     "the pre-flight of this cloud's documents; TestOrders_moveAClusterOnGoogleCloud has Google's",
		"policies_test.go":      "TestASweepKeepsAllDocumentsThatDecideOnGoogleCloud is its twin",
		"subscribers_test.go":   "subscribers of SNS topics; on Google Cloud Terraform owns the one of Pub/Sub",
		"settings_test.go":      none,
		"begun_test.go":         "Google Cloud alone logs the beginnings of operations",
		"readme_test.go":        none,
		"plan_property_test.go": "every third world is on Google Cloud",

		"TestTwins_eachTestRunsOnBothClouds":               none,
		"TestSweepKeepsItsShareOfTheRequestRateBusy":       "the rate is that of the Cloud API",
		"TestTheMemoryOfASweepDoesNotGrowWithTheFleet":     "the fleet is the Cloud API's",
		"TestPlan_largeFleet_keepsToTheRequestRate":        "the rate is that of the Cloud API",
		"TestDecide_changeOfVersionScheme":                 "Google Cloud has one scheme",
		"TestFleet_replicasAreOneKey":                      "a key of Google Cloud has no replica",
		"TestKeys_replicas_areReportedEach":                "a key of Google Cloud has no replica",
		"TestKeys_recoverySteps_nameTheRealKey":            "TestKeyConditions_onCloudKMS_areAboutTheVersion is its twin",
		"TestKeys_whatIsOff_isOneAlertWithItsOwnWayBack":   "AWS has neither APIs to switch on nor billing that switches them off",
		"TestKeyReports_twoAccounts_areTwoAlerts":          "reads of AWS name accounts; TestProjects_refusedOrMadeAnew has projects",
		"TestMovedAlert_saysUntilWhenTheOldKeyIsNeeded":    none,
		"TestSend_regionRemovedAfterItsPUT_freesTheOthers": none,
	})
}
