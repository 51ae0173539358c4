package events

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Cloud Asset Inventory reports that a key or a version is not what it was
// (cloud.google.com/asset-inventory/docs/monitor-asset-changes). It may lose messages and mix up their order, and without the content type
// RESOURCE it sends no more than names. So an event is made only of what a message shows itself: a state that differs from the one
// before it.

// assetOfKey reads a change of a key: its primary version is another one, or it was deleted.
func assetOfKey(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := assetKey(n, e)
	if err != nil {
		return nil, err
	}
	if n.Deleted {
		list[0].Change = cmek.ChangeKeyDeleted
		return list, nil
	}
	now, before := primaryOf(data(n.Asset)), primaryOf(data(n.PriorAsset))
	if now.IsZero() || before.IsZero() || now == before {
		return nil, nil
	}
	list[0].Version, list[0].Previous = now, before
	return list, nil
}

// assetOfVersion reads a change of a version: its state is another one.
func assetOfVersion(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := assetKey(n, e)
	if err != nil {
		return nil, err
	}
	if list[0].On.IsZero() {
		return nil, fmt.Errorf("asset.name %q: no version", clip(n.Asset.text("name")))
	}
	now, before := data(n.Asset).text("state"), data(n.PriorAsset).text("state")
	isNew := n.PriorState == "DOES_NOT_EXIST"
	change, known := map[string]cmek.Change{
		"ENABLED": cmek.ChangeVersionEnabled, "DISABLED": cmek.ChangeVersionDisabled,
		"DESTROY_SCHEDULED": cmek.ChangeVersionScheduled, "DESTROYED": cmek.ChangeVersionDestroyed,
	}[now]
	switch {
	case isNew && now != "":
		list[0].Change = cmek.ChangeVersionCreated
	case !known || before == "" || now == before:
		return nil, nil
	default:
		list[0].Change = change
	}
	return list, nil
}

// assetKey is the key that a message is about. Its time is the one from which on the inventory knows the asset to be so.
func assetKey(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	e.Time = instant(n.Window.text("startTime"))
	return cryptoKey(n, e)
}

// data is the resource of an asset as its own API shows it; nil if the message does not have it.
func data(asset object) object { return asset.object("resource").object("data") }

// primaryOf is the primary version of a key.
func primaryOf(key object) cmek.KeyVersion {
	_, version, err := cmek.ParseCryptoKeyName(strings.TrimPrefix(key.object("primary").text("name"), "//"+googleKMS+"/"))
	if err != nil {
		return cmek.KeyVersion{}
	}
	return version
}
