"""Runs torchrun. Its agent asks for stores with libuv, but Debian builds PyTorch without libuv. There, stores are made with use_libuv=False."""

import torch.distributed as distributed
from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend


class StoreWithoutLibuv(distributed.TCPStore):
    def __init__(self, *args, **options):
        super().__init__(*args, **{"use_libuv": False, **options})


try:
    distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
except RuntimeError as error:
    if "libuv" not in str(error):
        raise
    distributed.TCPStore = c10d_rendezvous_backend.TCPStore = StoreWithoutLibuv

from torch.distributed.run import main

if __name__ == "__main__":
    main()
