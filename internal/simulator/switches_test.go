package simulator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestEverySwitchIsDocumentedAndTakesItsSettings(t *testing.T) {
	world := newWorld(t)
	seen := map[string]bool{}
	for _, s := range world.Switches() {
		if s.Doc == "" || seen[s.Name] || s.Value != s.Settings[0] {
			t.Errorf("switch %+v: want a Doc, a name of its own and the first setting as default", s)
		}
		seen[s.Name] = true
		for _, setting := range s.Settings {
			err := world.Set(s.Name, setting)
			if isKind := setting == "duration" || setting == "number" || setting == "offset"; isKind == (err == nil) {
				t.Errorf("set %s to %s: %v", s.Name, setting, err)
			}
		}
		if err := world.Set(s.Name, "nonsense"); err == nil || !strings.Contains(err.Error(), s.Settings[0]) {
			t.Errorf("set %s to nonsense: %v; want an error that lists the settings", s.Name, err)
		}
	}
	if err := world.Set("no-such-switch", "on"); err == nil {
		t.Error("an unknown switch was set")
	}
	set(t, world, simulator.RotationDuration, "17m", simulator.PageLimit, "7")
}

func TestAnswersThatASwitchDecides(t *testing.T) {
	locked := func(t *testing.T, world *simulator.World) {
		if err := world.Lock("payments", "CRDB_PATCH_RUNNING", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	getAnalytics := func(t *testing.T, w *simulator.World) reply {
		return call(t, w, "GET", "/clusters/"+analytics+"/cmek", "")
	}
	putPayments := func(t *testing.T, w *simulator.World) reply { return put(t, w, payments, paymentsSpec) }
	putAnalytics := func(t *testing.T, w *simulator.World) reply { return put(t, w, analytics, paymentsSpec) }
	putArchive := func(t *testing.T, w *simulator.World) reply {
		return put(t, w, archive, regionSpec("eu-central-1", "arn:aws:kms:eu-central-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f005", "arn:aws:iam::111122223333:role/archive-cmek"))
	}
	postPayments := func(t *testing.T, w *simulator.World) reply {
		return call(t, w, "POST", "/clusters/"+payments+"/cmek", specBody(paymentsSpec))
	}
	putMars := func(t *testing.T, w *simulator.World) reply {
		return put(t, w, payments, regionSpec("mars-1", paymentsKey, paymentsRole))
	}
	tests := []struct {
		name, setting string
		before        func(*testing.T, *simulator.World)
		call          func(*testing.T, *simulator.World) reply
		status        int
		inBody        string
	}{
		{simulator.BusyReply, "503", locked, putPayments, 503, `"code":14`},
		{simulator.BusyReply, "409", locked, putPayments, 409, `"code":10`},
		{simulator.BusyReply, "400", locked, putPayments, 400, "lock"},
		{simulator.BusyReply, "503-not-ready", locked, putPayments, 503, `{"code":14,"message":"cluster is not ready`},
		{simulator.BusyReply, "503", locked, putPayments, 503, `"message":"cluster lock`},
		{simulator.BusyReply, "409", locked, putPayments, 409, `"message":"cluster lock`},
		{simulator.CMEKAbsent, "disabled", nil, getAnalytics, 200, `"status":"DISABLED"`},
		{simulator.CMEKAbsent, "404", nil, getAnalytics, 404, `"code":5`},
		{simulator.CMEKAbsent, "empty", nil, getAnalytics, 200, `{"region_infos":[]}`},
		{simulator.ErrorBody, "html", nil, putMars, 400, "<html>"},
		{simulator.ErrorBody, "text", nil, putMars, 400, "cluster has no region"},
		{simulator.InvalidKeySpec, "404", nil, putMars, 404, "mars-1"},
		{simulator.PUTWithoutCMEK, "400", nil, putAnalytics, 400, "not enabled"},
		{simulator.PUTWithoutCMEK, "404", nil, putAnalytics, 404, "not enabled"},
		{simulator.PUTWithoutCMEK, "enable", nil, putAnalytics, 200, "ENABLING"},
		{simulator.PUTAfterRevoke, "403", nil, putArchive, 403, "revoked"},
		{simulator.PUTAfterRevoke, "rotate", nil, putArchive, 200, "ROTATING"},
		{simulator.POSTWhenEnabled, "409", nil, postPayments, 409, "already"},
		{simulator.POSTWhenEnabled, "rotate", nil, postPayments, 200, "ROTATING"},
		{simulator.RotationDuration, "0s", nil, putPayments, 200, `"status":"ENABLED"`},
		{simulator.StatusFlip, "after", nil, putPayments, 200, `"status":"ENABLED"`},
		{simulator.SinglePage, "null", nil, func(t *testing.T, w *simulator.World) reply { return call(t, w, "GET", "/clusters", "") }, 200, `"pagination":null`},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.setting, func(t *testing.T) {
			world := newWorld(t, tt.name, tt.setting)
			if tt.before != nil {
				tt.before(t, world)
			}
			tt.call(t, world).want(t, tt.status, tt.inBody)
		})
	}
}

func TestOtherPlansHaveNoCMEK(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.Clusters[5].Plan = "STANDARD"
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	for setting, status := range map[string]int{"400": 400, "403": 403, "404": 404, "501": 501} {
		set(t, world, simulator.CMEKOnOtherPlans, setting)
		call(t, world, "GET", "/clusters/"+analytics+"/cmek", "").want(t, status, "STANDARD")
	}
}

func TestAKeyThatComesBackIsAppendedOrEnabledAgain(t *testing.T) {
	const otherKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
	bubble(t, func(t *testing.T) {
		for setting, want := range map[string][]string{
			"append":    {paymentsKey + " DISABLED", otherKey + " DISABLED", paymentsKey + " ENABLED"},
			"re-enable": {paymentsKey + " ENABLED", otherKey + " DISABLED"},
		} {
			world := newWorld(t, simulator.FormerKeyInfo, setting)
			created := getCMEK(t, world, payments).RegionInfos[0].KeyInfos[0].CreatedAt
			callKMS(t, world, "us-east-1", "CreateGrant", `{"KeyId":"`+otherKey+`","GranteePrincipal":"`+paymentsRole+`","Operations":["Encrypt","Decrypt"]}`).want(t, 200, "")
			put(t, world, payments, regionSpec("us-east-1", otherKey, paymentsRole)).want(t, 200, "ROTATING")
			time.Sleep(10 * time.Second)
			put(t, world, payments, paymentsSpec).want(t, 200, "ROTATING")
			during := getCMEK(t, world, payments).RegionInfos[0].KeyInfos
			back := map[string]int{"append": 2, "re-enable": 0}[setting]
			if during[1].Status != cmek.Disabling || during[back].Status != cmek.Enabling {
				t.Errorf("%s: while going back the keys are %+v", setting, during)
			}
			time.Sleep(10 * time.Second)
			var got []string
			infos := getCMEK(t, world, payments).RegionInfos[0].KeyInfos
			for _, k := range infos {
				got = append(got, string(k.Spec.URI)+" "+string(k.Status))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the keys are %v, want %v", setting, got, want)
			}
			if !infos[0].CreatedAt.Equal(created) || setting == "re-enable" && time.Since(infos[0].UpdatedAt) > time.Minute {
				t.Errorf("%s: the first key is %+v; want its own created_at, and updated_at moved if it is enabled again", setting, infos[0])
			}
			if key := storeKeyOf(t, world, payments, "us-east-1"); string(key.URI) != paymentsKey {
				t.Errorf("%s: the store key is wrapped under %s", setting, key.URI)
			}
		}
	})
}

func TestOnlyAKeyThatWasReplacedIsEnabledAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.FormerKeyInfo, "re-enable", simulator.SameURIKeyInfo, "append")
		for range 2 {
			put(t, world, payments, paymentsSpec).want(t, 200, "")
			time.Sleep(10 * time.Second)
		}
		if infos := getCMEK(t, world, payments).RegionInfos[0].KeyInfos; len(infos) != 3 || infos[2].Status != cmek.Enabled {
			t.Errorf("after two PUTs with the same key the keys are %+v, want three", infos)
		}
		const otherKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
		callKMS(t, world, "us-east-1", "CreateGrant", `{"KeyId":"`+otherKey+`","GranteePrincipal":"`+paymentsRole+`","Operations":["Encrypt","Decrypt"]}`).want(t, 200, "")
		if err := world.FailNextRotation(payments, "us-east-1", "no"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			put(t, world, payments, regionSpec("us-east-1", otherKey, paymentsRole)).want(t, 200, "")
			time.Sleep(10 * time.Second)
		}
		if infos := getCMEK(t, world, payments).RegionInfos[0].KeyInfos; len(infos) != 5 || infos[3].Status != cmek.EnableFailed || infos[4].Status != cmek.Enabled {
			t.Errorf("after a failure and another try the keys are %+v; the failed one was never in force", infos)
		}
	})
}

func TestTheRateLimitMayHaveAnotherStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.RateLimitStatus, "503")
		for range 10 {
			call(t, world, "GET", "/organization", "")
		}
		call(t, world, "GET", "/organization", "").want(t, 503, "rate limit exceeded")
	})
}

func TestAStaleReadShowsTheStateBeforeThePUT(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.StatusFlip, "after")
		before := getCMEK(t, world, payments)
		put(t, world, payments, paymentsSpec).want(t, 200, "")
		if info := getCMEK(t, world, payments); info.Status != cmek.Enabled || info.RegionInfos[0].KeyInfos[0].UpdatedAt != before.RegionInfos[0].KeyInfos[0].UpdatedAt {
			t.Errorf("right after the PUT the CMEK reads %+v, want it as before", info)
		}
		if c := getCluster(t, world, payments); c.State != "CREATED" {
			t.Errorf("right after the PUT the cluster reads %s, want CREATED", c.State)
		}
		time.Sleep(3 * time.Second)
		if info := getCMEK(t, world, payments); info.Status != cmek.Rotating {
			t.Errorf("3 s after the PUT the CMEK reads %s", info.Status)
		}
	})
}

func TestAStaleReadDoesNotHideAnOperationOfCockroachLabs(t *testing.T) {
	world := newWorld(t, simulator.StatusFlip, "after")
	if err := world.Lock("payments", "CRDB_PATCH_RUNNING", time.Hour); err != nil {
		t.Fatal(err)
	}
	if info := getCMEK(t, world, payments); info.Status != cmek.Enabled || len(info.RegionInfos) != 1 {
		t.Errorf("while the cluster is locked the CMEK reads %+v, want it as it is", info)
	}
	if c := getCluster(t, world, payments); c.State != "LOCKED" {
		t.Errorf("the locked cluster reads %s", c.State)
	}
}

func TestAPOSTTreatedAsAPUTIsRefusedLikeOne(t *testing.T) {
	world := newWorld(t, simulator.POSTWhenEnabled, "rotate")
	archived := regionSpec("eu-central-1", "arn:aws:kms:eu-central-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f005", "arn:aws:iam::111122223333:role/archive-cmek")
	call(t, world, "POST", "/clusters/"+archive+"/cmek", specBody(archived)).want(t, 400, "revoked")

	if err := world.Lock("payments", "CRDB_PATCH_RUNNING", time.Hour); err != nil {
		t.Fatal(err)
	}
	call(t, world, "POST", "/clusters/"+payments+"/cmek", specBody(paymentsSpec)).want(t, 503, "lock")
	if c := getCluster(t, world, payments); c.OperationStatus != "CRDB_PATCH_RUNNING" {
		t.Errorf("the operation that was running became %s", c.OperationStatus)
	}
}

func TestASameURIRotationUpdatesOrAppends(t *testing.T) {
	tests := []struct {
		switches []string
		statuses []cmek.Status
		moved    bool
	}{
		{nil, []cmek.Status{cmek.Enabled}, true},
		{[]string{simulator.UpdatedAt, "stays"}, []cmek.Status{cmek.Enabled}, false},
		{[]string{simulator.SameURIKeyInfo, "append"}, []cmek.Status{cmek.Disabled, cmek.Enabled}, true},
		{[]string{simulator.SameURIKeyInfo, "append", simulator.KeyInfoOrder, "newest-first"}, []cmek.Status{cmek.Enabled, cmek.Disabled}, true},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.switches, " "), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				world := newWorld(t, tt.switches...)
				before := getCMEK(t, world, payments).RegionInfos[0].KeyInfos[0].UpdatedAt
				put(t, world, payments, paymentsSpec).want(t, 200, "")
				time.Sleep(time.Minute)
				var statuses []cmek.Status
				region := getCMEK(t, world, payments).RegionInfos[0]
				for _, k := range region.KeyInfos {
					statuses = append(statuses, k.Status)
				}
				if !slices.Equal(statuses, tt.statuses) {
					t.Errorf("key statuses are %v, want %v", statuses, tt.statuses)
				}
				if moved := region.Newest(cmek.KeyURI(paymentsKey)).UpdatedAt.After(before); moved != tt.moved {
					t.Errorf("updated_at moved: %v, want %v", moved, tt.moved)
				}
			})
		})
	}
}

func TestANewURIDisablesTheOldKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		// The policy of the other key admits the orders role.
		other := regionSpec("us-east-1", string(ordersSpecs()[0].KeySpec.URI), ordersRole)
		put(t, world, payments, other).want(t, 200, "DISABLING")
		time.Sleep(time.Minute)
		keys := getCMEK(t, world, payments).RegionInfos[0].KeyInfos
		if len(keys) != 2 || keys[0].Status != cmek.Disabled || keys[1].Status != cmek.Enabled || keys[1].Spec != other.KeySpec {
			t.Errorf("key_infos are %+v; want the old DISABLED and the new ENABLED", keys)
		}
	})
}

func TestAFailedMoveToANewURILeavesTheOldKeyInForce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		if err := world.FailNextRotation(payments, "us-east-1", "no access"); err != nil {
			t.Fatal(err)
		}
		put(t, world, payments, regionSpec("us-east-1", string(ordersSpecs()[0].KeySpec.URI), ordersRole)).want(t, 200, "")
		time.Sleep(time.Minute)
		region := getCMEK(t, world, payments).RegionInfos[0]
		if region.Status != cmek.RotateFailed || region.KeyInfos[0].Status != cmek.Enabled || region.KeyInfos[1].Status != cmek.EnableFailed {
			t.Errorf("region is %+v; want ROTATE_FAILED with the old key ENABLED and the new ENABLE_FAILED", region)
		}
		if key := storeKeyOf(t, world, payments, "us-east-1"); key.URI != cmek.KeyURI(paymentsKey) {
			t.Errorf("the store key is under %s", key.URI)
		}
	})
}

func TestADuplicatePUT(t *testing.T) {
	tests := []struct {
		setting  string
		status   int
		accepted int
		outcome  string
	}{
		{"busy", 503, 1, "cluster lock is held by another operation: CRDB_CMEK_OPERATION_RUNNING"},
		{"rotate", 200, 2, "accepted"},
		{"no-op", 200, 1, "no-op"},
	}
	for _, tt := range tests {
		t.Run(tt.setting, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				world := newWorld(t, simulator.DuplicatePUT, tt.setting)
				if err := world.Rotate(paymentsKey); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				put(t, world, payments, paymentsSpec).want(t, 200, "ROTATING")
				time.Sleep(6 * time.Second)
				put(t, world, payments, paymentsSpec).want(t, tt.status, "")
				time.Sleep(6 * time.Second)
				want := cmek.Enabled
				if tt.setting == "rotate" {
					want = cmek.Rotating // the second rotation began in place of the first
				}
				if info := getCMEK(t, world, payments); info.Status != want {
					t.Errorf("12 s after the first PUT the CMEK is %s, want %s", info.Status, want)
				}
				time.Sleep(time.Minute)
				key := storeKeyOf(t, world, payments, "us-east-1")
				if key.AcceptedPUTs[key.Material] != tt.accepted || key.Behind {
					t.Errorf("store key is %+v, want %d accepted PUTs", key, tt.accepted)
				}
				if puts := world.PUTs(); puts[1].Outcome != tt.outcome {
					t.Errorf("the second PUT's outcome is %q, want %q", puts[1].Outcome, tt.outcome)
				}
				if getCMEK(t, world, payments).Status != cmek.Enabled {
					t.Error("the CMEK never came to rest")
				}
			})
		})
	}
}

func TestRegionsOfOnePUTMayEndDifferently(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.PUTRegions, "last-fails", simulator.FailedKeyStatus, "ENABLED")
		put(t, world, orders, ordersSpecs()...).want(t, 200, "")
		time.Sleep(time.Minute)
		info := getCMEK(t, world, orders)
		failed, _ := info.Region("us-west-2")
		fine, _ := info.Region("eu-west-1")
		if failed.Status != cmek.RotateFailed || failed.KeyInfos[0].Status != cmek.Enabled || fine.Status != cmek.Enabled {
			t.Errorf("regions are %+v", info.RegionInfos)
		}
	})
}

func TestNodesMayRestartDuringARotation(t *testing.T) {
	world := newWorld(t, simulator.NodesInRotation, "restart")
	put(t, world, payments, paymentsSpec).want(t, 200, "")
	call(t, world, "GET", "/clusters/"+payments+"/nodes", "").want(t, 200, "NOT_READY")
}

func TestABlackoutWindowMayRefuseThePUT(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.PUTInBlackout, "refuse")
		from := time.Now().Add(8 * 24 * time.Hour).UTC()
		window := `{"start_time":"` + from.Format(time.RFC3339) + `","end_time":"` + from.Add(48*time.Hour).Format(time.RFC3339) + `"}`
		call(t, world, "POST", "/clusters/"+payments+"/blackout-windows", window).want(t, 200, "")
		put(t, world, payments, paymentsSpec).want(t, 200, "")
		time.Sleep(9 * 24 * time.Hour)
		put(t, world, payments, paymentsSpec).want(t, 400, "blackout")
	})
}

func TestSwitchesOfTheKMS(t *testing.T) {
	names := func(t *testing.T, switches ...string) (names []string, first payload) {
		world := newWorld(t, switches...)
		if err := world.Rotate(ledgerKey); err != nil {
			t.Fatal(err)
		}
		events := world.Events()
		return eventNames(t, events), decode[payload](t, string(events[0].Payload))
	}
	if got, _ := names(t, simulator.KMSRotationEvent, "none"); !slices.Equal(got, []string{"RotateKey"}) {
		t.Errorf("with the event lost: %v", got)
	}
	if got, first := names(t, simulator.KMSRotationEvent, "key-id-only"); first.Detail.KeyID == "" || first.Detail.CurrentMaterial != "" {
		t.Errorf("in the old shape: %v %+v", got, first)
	}
	if got, _ := names(t, simulator.CloudTrail, "off"); !slices.Equal(got, []string{"KMS CMK Rotation"}) {
		t.Errorf("without a trail: %v", got)
	}
	if got, _ := names(t, simulator.KMSReplicaEvents, "every-region"); len(got) != 6 {
		t.Errorf("with events in three Regions: %v", got)
	}
	world := newWorld(t, simulator.KMSMaterialID, "absent", simulator.KMSRotationsOrder, "newest-first")
	if r := callKMS(t, world, "us-east-1", "DescribeKey", `{"KeyId":"`+paymentsKey+`"}`); strings.Contains(r.body, "CurrentKeyMaterialId") {
		t.Errorf("material ids are shown: %s", r.body)
	}
	r := callKMS(t, world, "eu-central-1", "ListKeyRotations", `{"KeyId":"`+ledgerKey+`"}`)
	type list struct {
		Rotations []struct{ RotationDate float64 }
	}
	if l := decode[list](t, r.body); len(l.Rotations) != 2 || l.Rotations[0].RotationDate < l.Rotations[1].RotationDate {
		t.Errorf("rotations are not newest first: %s", r.body)
	}
	set(t, world, simulator.KMSReplicaHistory, "empty")
	r = callKMS(t, world, "eu-west-1", "ListKeyRotations", `{"KeyId":"`+ledgerReplica+`"}`)
	if l := decode[list](t, r.body); len(l.Rotations) != 0 {
		t.Errorf("the replica lists rotations: %s", r.body)
	}
}

func TestTheRateLimitIsASwitch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		if err := world.Set(simulator.RateLimit, "3"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			call(t, world, "GET", "/organization", "").want(t, 200, "")
		}
		call(t, world, "GET", "/organization", "").want(t, 429, "rate limit exceeded")
		time.Sleep(time.Second)
		call(t, world, "GET", "/organization", "").want(t, 200, "")
	})
}
