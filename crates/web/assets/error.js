// Takes the counter of redirects out of the address, so that a reload begins anew.

const address = new URL(location.href);
if (address.searchParams.has("redirects")) {
  address.searchParams.delete("redirects");
  history.replaceState(null, "", address);
}
