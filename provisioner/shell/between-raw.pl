# IP protocol 4: listens, or, with ID:ADDRESS... after the round's name, sends. What is inside is an IPv4 header with a
# wrong checksum, so that no tunnel takes it for traffic.
use Socket;
my ($round, @to) = @ARGV;
$| = 1;
socket(my $socket, AF_INET, SOCK_RAW, 4) or exit 1;
my $inner = pack("CCnnnCCnNN", 0x45, 0, 20, 0, 0, 1, 253, 0, 0xC0000201, 0xC0000202);
for (@to) {
  my ($id, $address) = split /:/;
  send($socket, "${inner}provision $round $id \n", 0, sockaddr_in(0, inet_aton($address)));
}
exit 0 if @to;
print "listening ipip 0\n";
while (defined recv($socket, my $packet, 65535, 0)) {
  print "got $2\n" if $packet =~ /provision (\w+) (\d+) / and $1 eq $round;
}
