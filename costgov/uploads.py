"""Uploads that do not fit on the disk: said in words, wherever the form is first read (CSRF check, view or API)."""

import errno
from contextlib import suppress
from typing import NoReturn

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.views.defaults import bad_request

from costgov.refusals import NoRoomForUpload, no_room


class DiskUploadHandler(TemporaryFileUploadHandler):
    """Django's handler of large files. Raises NoRoomForUpload."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError as error:
            self._give_up(error)

    def file_complete(self, file_size: int) -> UploadedFile | None:
        try:
            return super().file_complete(file_size)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> NoReturn:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        with suppress(OSError):  # what is still in its buffer does not fit either; this also deletes the file
            self.file.close()
        raise NoRoomForUpload from error


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, NoRoomForUpload):
        return no_room(request, exception)
    return bad_request(request, exception)
